"""The watchdog outside Trio ends the process at the hard limit and when the loop stands still, and says what lives."""

import subprocess
import sys
import textwrap
import threading

import trio

from optimizer.nurseries import Watchdog
from optimizer.nurseries.watchdog import describe_task


def run_script(script: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=30, check=False
    )


def test_hard_limit_ends_a_process_that_does_not_stop() -> None:
    done = run_script("""
        import time, trio
        from optimizer.nurseries import Watchdog
        async def stuck_service():
            with trio.CancelScope(shield=True):
                await trio.sleep_forever()
        async def main(watchdog):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watchdog.run)
                nursery.start_soon(stuck_service)
                await trio.sleep(0.05)
                watchdog.arm()
                nursery.cancel_scope.cancel()
        with Watchdog(limit_s=0.2) as watchdog:
            trio.run(main, watchdog)
    """)
    assert done.returncode == 70
    assert "did not stop within 0.2 s" in done.stderr
    assert "stuck_service" in done.stderr


def test_hard_limit_covers_a_thread_that_holds_the_end_of_the_run() -> None:
    done = run_script("""
        import threading, trio
        from optimizer.nurseries import Watchdog
        def hold_the_exit():
            threading.Event().wait(20)
        async def main(watchdog):
            watchdog.arm()
            await trio.to_thread.run_sync(hold_the_exit)
        with Watchdog(limit_s=0.2) as watchdog:
            trio.run(main, watchdog)
    """)
    assert done.returncode == 70
    assert "hold_the_exit" in done.stderr


def test_a_loop_that_stands_still_is_ended() -> None:
    done = run_script("""
        import threading, trio
        from optimizer.nurseries import Watchdog
        async def block_the_loop():
            threading.Event().wait(20)
        async def main(watchdog):
            async with trio.open_nursery() as nursery:
                await nursery.start(watchdog.run)
                nursery.start_soon(block_the_loop)
        with Watchdog(stall_s=1) as watchdog:
            trio.run(main, watchdog)
    """)
    assert done.returncode == 70
    assert "stood still" in done.stderr
    assert "block_the_loop" in done.stderr


def test_a_full_stderr_pipe_does_not_hold_the_watchdog_back() -> None:
    done = run_script("""
        import os, subprocess, sys
        script = '''
        import os, trio
        from optimizer.nurseries import Watchdog
        async def main(watchdog):
            os.set_blocking(2, False)
            try:
                while True:
                    os.write(2, b"x" * 65536)
            except BlockingIOError:
                os.set_blocking(2, True)
            watchdog.arm()
            await trio.sleep_forever()
        with Watchdog(limit_s=0.1) as watchdog:
            trio.run(main, watchdog)
        '''
        import textwrap
        child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stderr=subprocess.PIPE)
        print(child.wait(20))
    """)
    assert done.stdout.strip() == "70", done.stderr


async def test_it_stays_quiet_when_all_is_well() -> None:
    ends: list[str] = []
    before = set(threading.enumerate())
    with Watchdog(limit_s=1000, stall_s=1000, end=ends.append) as watchdog:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: watchdog.run(task_status=task_status))
            nursery.cancel_scope.cancel()
    assert ends == []
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert not set(threading.enumerate()) - before


async def test_the_description_names_tasks_below() -> None:
    async def waiting_child() -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(waiting_child)
        await trio.testing.wait_all_tasks_blocked()
        text = describe_task(trio.lowlevel.current_task())
        nursery.cancel_scope.cancel()
    assert "waiting_child" in text
    assert "test_watchdog.py" in text

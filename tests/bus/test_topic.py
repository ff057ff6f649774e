"""Topics: every subscriber gets everything in order, a slow one harms only itself, closing drains."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from optimizer.bus import Overflow, Topic


async def test_every_subscriber_gets_everything_in_order() -> None:
    topic = Topic[int]("numbers")
    got: dict[str, list[int]] = {"a": [], "b": []}

    async def read(name: str, *, task_status: trio.TaskStatus[None]) -> None:
        with topic.subscribe(2, Overflow.BLOCK) as numbers:
            task_status.started()
            async for number in numbers:
                got[name].append(number)

    async with trio.open_nursery() as nursery:
        for name in got:
            await nursery.start(read, name)
        for number in range(100):
            await topic.publish(number)
        topic.close()
    assert got == {"a": list(range(100)), "b": list(range(100))}
    assert topic.statistics().published == 100
    assert topic.statistics().subscribers == 0


async def test_what_is_buffered_is_read_before_the_end() -> None:
    topic = Topic[int]("numbers")
    with topic.subscribe(3, Overflow.BLOCK) as numbers:
        for number in range(3):
            topic.publish_nowait(number)
        topic.close()
        assert [number async for number in numbers] == [0, 1, 2]
        with pytest.raises(trio.EndOfChannel):
            await numbers.receive()


async def test_drop_counts_and_harms_only_itself() -> None:
    topic = Topic[int]("numbers")
    with topic.subscribe(1, Overflow.DROP) as slow, topic.subscribe(10, Overflow.BLOCK) as good:
        for number in range(10):
            await topic.publish(number)
        assert [good.receive_nowait() for _ in range(10)] == list(range(10))
        assert slow.receive_nowait() == 0
        assert slow.dropped == 9
        assert topic.statistics().dropped == 9
    assert topic.statistics().dropped == 9


async def test_disconnect_ends_the_slow_reader_after_what_it_has() -> None:
    topic = Topic[int]("numbers")
    with topic.subscribe(2, Overflow.DISCONNECT) as slow:
        for number in range(5):
            await topic.publish(number)
        assert slow.disconnected
        assert [number async for number in slow] == [0, 1]
        assert topic.statistics().disconnected == 1
    assert topic.statistics().disconnected == 1


async def test_block_makes_the_publisher_wait(autojump_clock: trio.testing.MockClock) -> None:
    topic = Topic[int]("numbers")
    with topic.subscribe(1, Overflow.BLOCK) as slow, topic.subscribe(9, Overflow.BLOCK) as quick:
        await topic.publish(0)
        with trio.move_on_after(1) as scope:
            await topic.publish(1)
        assert scope.cancelled_caught
        assert quick.depth() == 2, "the one with room does not wait for the other"
        assert slow.depth() == 1


async def test_a_reader_that_leaves_frees_the_publisher(autojump_clock: trio.testing.MockClock) -> None:
    topic = Topic[int]("numbers")

    async def leave_after_a_while(*, task_status: trio.TaskStatus[None]) -> None:
        with topic.subscribe(0, Overflow.BLOCK):
            task_status.started()
            await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        await nursery.start(leave_after_a_while)
        with trio.fail_after(5):
            await topic.publish(1)
    assert trio.current_time() == 3


async def test_publish_nowait_delivers_to_all_or_none() -> None:
    topic = Topic[int]("numbers")
    with topic.subscribe(1, Overflow.BLOCK) as full, topic.subscribe(5, Overflow.BLOCK) as roomy:
        topic.publish_nowait(0)
        with pytest.raises(trio.WouldBlock):
            topic.publish_nowait(1)
        assert (full.depth(), roomy.depth()) == (1, 1)


async def test_closed_topics_take_nothing_and_end_new_readers() -> None:
    topic = Topic[int]("numbers")
    topic.close()
    with pytest.raises(trio.ClosedResourceError, match="numbers"):
        await topic.publish(1)
    with topic.subscribe(1, Overflow.DROP) as late:
        assert [number async for number in late] == []


async def test_publish_is_a_checkpoint_with_and_without_subscribers() -> None:
    topic = Topic[int]("numbers")
    with trio.testing.assert_checkpoints():
        await topic.publish(1)
    with topic.subscribe(5, Overflow.BLOCK), trio.testing.assert_checkpoints():
        await topic.publish(2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await topic.publish(3)
    assert scope.cancelled_caught
    assert topic.statistics().published == 2


@given(
    script=st.lists(st.one_of(st.just("publish"), st.integers(0, 2)), max_size=60),
    buffers=st.tuples(*[st.integers(0, 4)] * 3),
)
def test_model_each_subscriber_sees_a_bounded_prefix_rule(
    script: list[str | int], buffers: tuple[int, int, int]
) -> None:
    """Against a model: a queue with a bound per subscriber, DROP loses the newest, DISCONNECT ends."""

    async def main() -> None:
        topic = Topic[int]("numbers")
        rules = (Overflow.DROP, Overflow.DISCONNECT, Overflow.DROP)
        queues: list[list[int]] = [[], [], []]
        cut = [False] * 3
        number = 0
        with (
            topic.subscribe(buffers[0], rules[0]) as a,
            topic.subscribe(buffers[1], rules[1]) as b,
            topic.subscribe(buffers[2], rules[2]) as c,
        ):
            subscriptions = (a, b, c)
            for step in script:
                if step == "publish":
                    topic.publish_nowait(number)
                    for i in range(3):
                        if cut[i]:
                            continue
                        if len(queues[i]) < buffers[i]:
                            queues[i].append(number)
                        elif rules[i] is Overflow.DISCONNECT:
                            cut[i] = True
                    number += 1
                elif isinstance(step, int) and queues[step]:
                    assert subscriptions[step].receive_nowait() == queues[step].pop(0)
            assert [s.depth() for s in subscriptions] == [len(q) for q in queues]
            assert b.disconnected == cut[1]

    trio.run(main)

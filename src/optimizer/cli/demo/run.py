"""The closed loop, shown: start a server, run an application against it, report, stop, start again, compare."""

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from optimizer.cli.demo.application import Application, Benchmark, Call, read_benchmark
from optimizer.cli.demo.server import DemoFailed, Server, environment, open_server, pick_ports
from optimizer.cli.demo.summary import Figures, show

SERVICE = "demo-app"
FLOOR = 0.95  # of the best model's quality
USERS = 4  # simulated users at the same time
BATCH = 10  # finished calls reported at once


@dataclass(slots=True)
class Tally:
    """What the application saw."""

    calls: list[Call] = field(default_factory=list)

    def line(self, benchmark: Benchmark) -> str:
        """The last thousand calls in one line: cost against the best model's, and quality."""
        recent = self.calls[-1000:]
        cost = sum(c.cost_usd for c in recent) / len(recent)
        quality = sum(c.correct for c in recent) / len(recent)
        return f"cost {cost / benchmark.cost(benchmark.best):5.1%} of best model, quality {quality:.3f}"


def declaration(benchmark: Benchmark) -> dict[str, object]:
    """The service as the application's owner declares it: as cheap as possible, at least 95 % of the best quality."""
    return {
        "objective": {
            "goal": "minimize_cost",
            "constraints": [{"metric": "quality", "min_ratio_to_best": FLOOR}],
        },
        "variants": [{"name": m, "config": {"model": m}} for m in benchmark.models],
        "baseline": benchmark.best,
        "segment_by": ["category"],
        "holdout": 0.02,
    }


async def run_demo(table: Path, requests: int, seed: int, console: Console) -> None:
    """Everything, in under a minute. Raises DemoFailed, with the reason, when something is not as it should be."""
    benchmark = read_benchmark(table)
    console.print(f"Figures: {benchmark.source}", highlight=False)
    with tempfile.TemporaryDirectory(prefix="optimizer-demo-") as name:
        folder = Path(name)
        environ = environment(folder, pick_ports())
        async with open_server(folder, environ) as server:
            console.print(f"server ready at {server.api.base_url}")
            await server.send("PUT", f"/api/v1/services/{SERVICE}", declaration(benchmark))
            tally = await run_application(server, benchmark, requests, seed, console)
            before = await settled(server, requests)
        console.print("stopped with SIGTERM; starting again on the same folder")
        async with open_server(folder, environ) as server:
            after = await settled(server, requests)
    show(console, Figures(benchmark, tally.calls, before, FLOOR))
    compare(before, after)
    console.print("after the restart: totals and policy unchanged", style="bold green")


async def run_application(server: Server, benchmark: Benchmark, requests: int, seed: int, console: Console) -> Tally:
    """Let the users make `requests` calls, each asking the server which model to use and reporting how it went."""
    application, tally = Application(benchmark, seed), Tally()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("learning", total=requests)

        async def user(calls: int) -> None:
            done: list[dict[str, object]] = []
            for i in range(calls):
                category = application.next_category()
                ask = {"context": {"category": category}, "request_id": uuid4().hex}
                choice = await server.send("POST", f"/api/v1/services/{SERVICE}/decide", ask)
                call = application.call(category, str(choice["variant"]))
                tally.calls.append(call)
                done.append(event(call, str(choice["assignment_id"])))
                if len(done) == BATCH or i == calls - 1:
                    await report_calls(server, done)
                    done = []
                    progress.update(bar, completed=len(tally.calls), description=tally.line(benchmark))

        async with trio.open_nursery() as users:
            for i in range(USERS):
                users.start_soon(user, requests // USERS + (i < requests % USERS))
    return tally


def event(call: Call, assignment_id: str) -> dict[str, object]:
    """The feedback event of a call that finished just now."""
    return {
        "event_id": uuid4().hex,
        "occurred_at": datetime.now(UTC).isoformat(),
        "service": SERVICE,
        "assignment_id": assignment_id,
        "variant": call.model,
        "model": call.model,
        "context": {"category": call.category},
        "latency_ms": call.latency_ms,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost_usd": f"{call.cost_usd:.9f}",
        "quality": float(call.correct),
    }


async def report_calls(server: Server, events: list[dict[str, object]]) -> None:
    """Report finished calls. Raises DemoFailed unless every one is accepted."""
    receipt = await server.send("POST", "/api/v1/feedback", {"events": events})
    if receipt["accepted"] != len(events):
        raise DemoFailed(f"feedback was not accepted: {receipt}")


async def settled(server: Server, events: int) -> dict[str, object]:
    """The report once everything reported is folded and learnt from. Raises DemoFailed after 20 s."""
    path = f"/api/v1/services/{SERVICE}/report"
    with trio.move_on_after(20):
        while True:
            report = await server.get(path)
            totals, policy = report["totals"], report["policy"]
            folded = isinstance(totals, dict) and totals["events"] >= events
            if folded and isinstance(policy, dict) and not policy["pending"]:
                return report
            await trio.sleep(0.05)
    raise DemoFailed(f"{events} calls were reported and acknowledged, and not all were folded")


def compare(before: dict[str, object], after: dict[str, object]) -> None:
    """Raise DemoFailed when the restart changed anything that was counted or decided."""
    for part in ("totals", "policy", "variants", "segments"):
        if before[part] != after[part]:
            raise DemoFailed(f"the restart changed {part}: {str(before[part])[:300]} became {str(after[part])[:300]}")

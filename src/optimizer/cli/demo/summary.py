"""The demo's result, as tables: what it cost, how good it was, which model each category gets."""

import math
import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from optimizer.cli.demo.application import Benchmark, Call

SHOWN = 0.03  # smaller shares are exploration


@dataclass(frozen=True, slots=True)
class Figures:
    """What the tables are made of: the benchmark, the application's calls, the server's report, the floor."""

    benchmark: Benchmark
    calls: list[Call]
    report: dict[str, object]
    floor: float


def show(console: Console, figures: Figures) -> None:
    """Print the tables."""
    console.print(_outcome(figures))
    console.print(_probabilities(figures))


def _outcome(f: Figures) -> Table:
    best = f.benchmark.best
    floor = f.floor * f.benchmark.accuracy(best)
    models = f.benchmark.models
    table = Table(title="What it cost and how good it was", title_justify="left")
    for column in ("", "USD / 1,000", "of best", "quality", "95 % interval", f"floor {floor:.3f}"):
        table.add_column(column, justify="left" if not column else "right")
    cost, quality = f.benchmark.cost(best), f.benchmark.accuracy(best)
    _row(table, "always the best model", cost, cost, quality, None, floor)
    mixed = statistics.fmean(f.benchmark.cost(m) for m in models)
    _row(table, "a random mix", mixed, cost, statistics.fmean(f.benchmark.accuracy(m) for m in models), None, floor)
    for name, calls in (("optimizer, all calls", f.calls), ("optimizer, second half", f.calls[len(f.calls) // 2 :])):
        spent = statistics.fmean(c.cost_usd for c in calls)
        right = statistics.fmean(c.correct for c in calls)
        _row(table, name, spent, cost, right, 1.96 * math.sqrt(right * (1 - right) / len(calls)), floor)
    return table


def _row(table: Table, name: str, cost: float, best: float, quality: float, half: float | None, floor: float) -> None:
    interval = "benchmark" if half is None else f"{quality - half:.3f} .. {quality + half:.3f}"
    if half is None:
        held = "above" if quality >= floor else "below"
    else:
        held = "held" if quality - half >= floor else "within the interval" if quality + half >= floor else "MISSED"
    table.add_row(name, f"{1000 * cost:.3f}", f"{cost / best:.1%}", f"{quality:.3f}", interval, held)


def _probabilities(f: Figures) -> Table:
    table = Table(title="Which models each category gets now (probability)", title_justify="left")
    table.add_column("category", no_wrap=True)
    table.add_column("models of at least 3 %")
    segments = f.report["segments"]
    for segment, row in sorted(segments.items()) if isinstance(segments, dict) else ():
        chances = sorted(row["probabilities"].items(), key=lambda pair: -pair[1])
        shown = ", ".join(f"{model} {p:.2f}" for model, p in chances if p >= SHOWN)
        table.add_row(segment.removeprefix("category="), shown)
    return table

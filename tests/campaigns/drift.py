"""Drift detection's declared run length on stable streams: `python -m tests.campaign --part drift --seeds 1000`.

`seeds` is the number of streams of each kind. The share of streams of 1,700 events with an alarm must not exceed, by
more than chance, what the declared average run length allows; and with a short declared run length, the mean of the run
lengths themselves must reach it.
"""

import itertools
import math
import random
import statistics
from collections.abc import Callable

from optimizer.core.drift import DriftSettings, RankDetector, ShareDetector

Draw = Callable[[random.Random], float]

EVENTS = 1_700
SHARES: dict[str, Draw] = {
    **{f"right in {p:.0%}": (lambda rng, p=p: float(rng.random() < p)) for p in (0.01, 0.2, 0.5, 0.8, 0.95, 0.99)},  # type: ignore[misc]
    "beta(18, 2)": lambda rng: rng.betavariate(18, 2),
    "uniform": lambda rng: rng.random(),
    "0.9 +- 0.02, one in 100 zero": lambda rng: 0.0 if rng.random() < 0.01 else min(1.0, rng.gauss(0.9, 0.02)),
}
RANKS: dict[str, Draw] = {
    "lognormal": lambda rng: rng.lognormvariate(6, 1),
    "pareto(1.1)": lambda rng: rng.paretovariate(1.1),
    "40 % zeros": lambda rng: 0.0 if rng.random() < 0.4 else rng.lognormvariate(-7, 2),
}


def alarm(draw: Draw, ranked: bool, declared: float, rng: random.Random, events: int) -> int | None:
    """The event that raises the first alarm on a stable stream."""
    settings = DriftSettings(average_run_length=declared, minimum_drop=0.0, minimum_ratio=0.0)
    detector = RankDetector.watching(settings, 1) if ranked else ShareDetector.watching(settings, -1)
    return next((i for i in range(events) if detector.add(draw(rng), i) is not None), None)


def main(seeds: int) -> int:
    """Print the measured rates; the number of kinds that exceed what was declared by more than three sigma."""
    failures = 0
    print(f"{'':30} declared     allowed     alarms in {EVENTS}        mean run length, declared 1,000")
    for (name, draw), ranked in itertools.chain(
        ((item, False) for item in SHARES.items()), ((item, True) for item in RANKS.items())
    ):
        for declared in (20_000.0, 500_000.0):
            found = sum(
                alarm(draw, ranked, declared, random.Random(f"{name}/{seed}"), EVENTS) is not None
                for seed in range(seeds)
            )
            allowed = 1.0 - math.exp(-EVENTS / declared)
            bad = found > seeds * allowed + 3 * math.sqrt(seeds * allowed) + 1
            failures += bad
            cells = f"{name:30} {declared:8,.0f}    {allowed:8.2%}    {found:5} of {seeds} ({found / seeds:.2%})"
            if declared == 20_000.0:
                lengths = [
                    alarm(draw, ranked, 1_000.0, random.Random(f"run/{name}/{s}"), 20_000) for s in range(seeds // 10)
                ]
                runs = [20_000 if at is None else at + 1 for at in lengths]
                mean, error = statistics.fmean(runs), statistics.stdev(runs) / math.sqrt(len(runs))
                bad = mean + 3 * error < 1_000.0
                failures += bad
                cells += f"    {mean:8,.0f} +- {error:,.0f}"
            print(cells + ("    TOO MANY" if bad else ""), flush=True)
    return failures

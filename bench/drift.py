"""How soon is an unannounced change noticed, and how often is one announced that never was?

    python -m bench.drift [--data OUTCOMES.csv.gz] [--trials 12]

A stream is 1,000 calls before a change and 700 after it; a stable one never changes. Only the first alarm counts, as
one before the change does (false) or as delay. Without data the calls are simulated; a recording needs the columns
`model`, `key` and `correct`, and every ordered pair of its models is a change. Beside ours: ADWIN and Page-Hinkley from
river at their defaults, a textbook CUSUM, two windows of 200 calls (z > 4), and one that always alarms.
"""

import argparse
import csv
import gzip
import itertools
import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from river import drift as river_drift

from optimizer.core.drift import DriftSettings, ShareDetector

BEFORE, AFTER = 1_000, 700
BAND = 0.02
"""Changes whose size is within this of the one asked for are taken together."""

SIZES = (-0.30, -0.23, -0.20, -0.15, -0.10)

Detect = Callable[[float], bool]


def ours() -> Detect:
    detector, clock = ShareDetector.watching(DriftSettings(), harmful=-1), itertools.count()
    return lambda value: detector.add(value, next(clock)) is not None


def river_detector(make: Callable[[], object]) -> Callable[[], Detect]:
    def fresh() -> Detect:
        detector = make()

        def update(value: float) -> bool:
            detector.update(value)  # type: ignore[attr-defined]  # river ships no types
            return bool(detector.drift_detected)  # type: ignore[attr-defined]

        return update

    return fresh


def cusum(limit: float) -> Callable[[], Detect]:
    """Two-sided CUSUM with slack 0.5 standard deviations, both learnt from the first 200 calls."""

    def fresh() -> Detect:
        first: list[float] = []
        learnt: list[float] = []
        sums = [0.0, 0.0]

        def update(value: float) -> bool:
            if len(first) < 200:
                first.append(value)
                if len(first) == 200:
                    learnt[:] = [statistics.fmean(first), statistics.pstdev(first) or 1.0]
                return False
            z = (value - learnt[0]) / learnt[1]
            sums[0], sums[1] = max(0.0, sums[0] + z - 0.5), max(0.0, sums[1] - z - 0.5)
            return max(sums) > limit

        return update

    return fresh


def windows() -> Detect:
    """The latest 200 calls against the 200 before them."""
    kept: list[float] = []

    def update(value: float) -> bool:
        kept.append(value)
        if len(kept) < 400:
            return False
        del kept[:-400]
        old, new = statistics.fmean(kept[:200]), statistics.fmean(kept[200:])
        pooled = (old + new) / 2
        return abs(new - old) > 4 * math.sqrt(max(2 * pooled * (1 - pooled) / 200, 1e-12))

    return update


DETECTORS: dict[str, Callable[[], Detect]] = {
    "ours": ours,
    "ADWIN (river)": river_detector(river_drift.ADWIN),
    "Page-Hinkley (river)": river_detector(river_drift.PageHinkley),
    "CUSUM h=5": cusum(5.0),
    "CUSUM h=20": cusum(20.0),
    "two windows, z > 4": windows,
    "always": lambda: lambda _value: True,
}


@dataclass
class Tally:
    """What one detector did."""

    stable: int = 0
    false_early: int = 0
    false_any: int = 0
    changed: dict[float, int] = field(default_factory=lambda: defaultdict(int))
    delays: dict[float, list[int]] = field(default_factory=lambda: defaultdict(list))
    events: int = 0
    seconds: float = 0.0

    def median(self, size: float) -> float | None:
        """The median delay of the changes that were found after they happened."""
        return statistics.median(self.delays[size]) if self.delays[size] else None

    def share(self, size: float) -> float:
        """The share of the changes that were found after they happened."""
        return len(self.delays[size]) / max(self.changed[size], 1)


def recorded(path: Path) -> dict[str, list[float]]:
    """Every model's outcomes."""
    table: dict[str, list[float]] = defaultdict(list)
    with gzip.open(path, "rt") as text:
        for row in csv.DictReader(text):
            table[row["model"]].append(float(row["correct"]))
    return table


def simulated() -> dict[str, list[float]]:
    """Models that are right in a fixed share of 1,000 calls."""
    shares = (0.97, 0.9, 0.82, 0.77, 0.67, 0.62, 0.52)
    return {
        f"right in {share:.0%}": [1.0] * round(1_000 * share) + [0.0] * round(1_000 * (1 - share)) for share in shares
    }


def streams(table: dict[str, list[float]], trials: int) -> Iterator[tuple[float | None, list[float]]]:
    """(size of the change, its stream), None for a stable one; the same for every detector."""
    mean = {model: statistics.fmean(values) for model, values in table.items()}
    for old, new in itertools.product(sorted(table), repeat=2):
        change = mean[new] - mean[old]
        size = next((size for size in SIZES if abs(change - size) <= BAND), None)
        if old != new and size is None:
            continue
        for trial in range(trials * (4 if old == new else 1)):
            rng = random.Random(f"{old}/{new}/{trial}")
            yield (None if old == new else size), rng.choices(table[old], k=BEFORE) + rng.choices(table[new], k=AFTER)


def first_alarm(detect: Detect, stream: Sequence[float]) -> int | None:
    """The index of the call that raises the first alarm."""
    return next((i for i, value in enumerate(stream) if detect(value)), None)


def run(table: dict[str, list[float]], trials: int) -> dict[str, Tally]:
    """Show every stream to every detector."""
    tallies = {name: Tally() for name in DETECTORS}
    for size, stream in streams(table, trials):
        for name, make in DETECTORS.items():
            tally, start = tallies[name], time.process_time()
            at = first_alarm(make(), stream)
            tally.seconds += time.process_time() - start
            tally.events += len(stream) if at is None else at + 1
            if size is None:
                tally.stable += 1
                tally.false_any += at is not None
                tally.false_early += at is not None and at < BEFORE
            else:
                tally.changed[size] += 1
                if at is not None and at >= BEFORE:
                    tally.delays[size].append(at - BEFORE)
    return tallies


def figures(tallies: dict[str, Tally]) -> dict[str, dict[str, object]]:
    """What the result line says of each detector."""
    return {
        name: {
            "false_1000": round(tally.false_early / tally.stable, 4),
            "false_1700": round(tally.false_any / tally.stable, 4),
            "delay": {f"{size:+.2f}": tally.median(size) for size in SIZES},
            "found": {f"{size:+.2f}": round(tally.share(size), 3) for size in SIZES},
        }
        for name, tally in tallies.items()
    }


def markdown(tallies: dict[str, Tally]) -> str:
    """One line per detector: false alarms, then median delay and share found for each size of change."""
    heads = ["detector", f"false in {BEFORE:,}", f"in {BEFORE + AFTER:,}", *(f"{size:+.2f}" for size in SIZES)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name, tally in tallies.items():
        cells = [name, f"{tally.false_early / tally.stable:.1%}", f"{tally.false_any / tally.stable:.1%}"]
        for size in SIZES:
            median = tally.median(size)
            cells.append("-" if median is None else f"{median:.0f} ({tally.share(size):.0%})")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    args = parser.parse_args()
    table = simulated() if args.data is None else recorded(args.data)
    tallies = run(table, args.trials)
    heads = [f"{size:+.2f}" for size in SIZES]
    print(f"{len(table)} models, {tallies['ours'].stable} stable streams of {BEFORE + AFTER} calls")
    print(f"{'':22}  false alarms in           median delay in calls (share found) at a change of")
    print(f"{'':22}  {BEFORE:>6}  {BEFORE + AFTER:>6}  " + "".join(f"{head:>14}" for head in heads) + "   us/call")
    for name, tally in tallies.items():
        cells = []
        for size in SIZES:
            median = tally.median(size)
            cells.append(f"{'-' if median is None else f'{median:.0f}'} ({tally.share(size):.0%})")
        print(
            f"{name:22}  {tally.false_early / tally.stable:6.1%}  {tally.false_any / tally.stable:6.1%}  "
            + "".join(f"{cell:>14}" for cell in cells)
            + f"  {1e6 * tally.seconds / tally.events:8.1f}"
        )
    print("RESULT " + json.dumps({"bench": "drift", "recorded": args.data is not None, "detectors": figures(tallies)}))


if __name__ == "__main__":
    main()

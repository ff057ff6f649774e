"""Which anomalies of metric series are found, at one set of settings, and how many alerts are for nothing?

    python -m bench.anomaly [--data SERIES.csv.gz --windows WINDOWS.json]

Every point is one sample in order; alerts are scored by the Numenta Anomaly Benchmark's function (Lavin and Ahmad,
"Evaluating real-time anomaly detection algorithms", ICMLA 2015): 100 finds every labelled window early and nothing
else, 0 is silence. Recorded series need the columns `series`, `timestamp` and `value`, and the labelled windows as
{series: [[start, end], ...]}; scores are also given for each group of series (the part before "/"). Without data,
series with known anomalies are made. Beside ours: two that judge by mean and standard deviation, one by chance.
"""

import argparse
import csv
import gzip
import json
import math
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from optimizer.core.anomaly import SeriesDetector

Detect = Callable[[float, int], bool]
PROFILES = {"standard": (1.0, 0.11, 1.0), "low_fp": (1.0, 0.22, 1.0), "low_fn": (1.0, 0.11, 2.0)}


@dataclass(frozen=True)
class Series:
    """Points in order and the index ranges (both ends inside) that hold an anomaly."""

    name: str
    seconds: Sequence[int]
    values: Sequence[float]
    windows: Sequence[tuple[int, int]]


def ours() -> Detect:
    detector = SeriesDetector()

    def update(value: float, seconds: int) -> bool:
        found = detector.add(value, seconds)
        return found is not None and found.kind == "anomaly"

    return update


def deviations(limit: float, quiet: int) -> Callable[[], Detect]:
    """More than `limit` standard deviations from the mean of the last 1,000 points, then quiet for a while."""

    def fresh() -> Detect:
        kept: deque[float] = deque()
        sums = [0.0, 0.0]
        points, until = 0, 0

        def update(value: float, _seconds: int) -> bool:
            nonlocal points, until
            points += 1
            n, hit = len(kept), False
            if n >= 100:
                mean = sums[0] / n
                sd = math.sqrt(max(sums[1] / n - mean * mean, 0.0))
                hit = abs(value - mean) > limit * sd + 1e-6 * abs(mean) and points >= until
            kept.append(value)
            sums[0], sums[1] = sums[0] + value, sums[1] + value * value
            if n == 1_000:
                old = kept.popleft()
                sums[0], sums[1] = sums[0] - old, sums[1] - old * old
            if hit:
                until = points + quiet
            return hit

        return update

    return fresh


def at_random() -> Detect:
    rng = random.Random(1)
    return lambda _value, _seconds: rng.random() < 1 / 500


DETECTORS: dict[str, Callable[[], Detect]] = {
    "ours": ours,
    "mean +- 5 sd, quiet 200": deviations(5.0, 200),
    "mean +- 4 sd, quiet 100": deviations(4.0, 100),
    "at random, 1 in 500": at_random,
}


def recorded(data: Path, windows: Path) -> list[Series]:
    """The series of a recording."""
    labels = json.loads(windows.read_text())
    rows: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with gzip.open(data, "rt") as text:
        for row in csv.DictReader(text):
            rows[row["series"]].append((_stamp(row["timestamp"]), float(row["value"])))
    out = []
    for name, points in rows.items():
        index = {seconds: i for i, (seconds, _) in enumerate(points)}
        ranges = [(index[_stamp(a)], index[_stamp(b)]) for a, b in labels[name]]
        out.append(Series(name, [t for t, _ in points], [v for _, v in points], ranges))
    return out


def _stamp(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def made() -> list[Series]:
    """Series of 4,000 points, one in five minutes, with an anomaly of each kind at point 3,000 and some without."""
    kinds: dict[str, Callable[[int, random.Random], float]] = {
        "spike": lambda i, rng: rng.gauss(50, 5) + (60 if 3_000 <= i < 3_004 else 0),
        "step": lambda i, rng: rng.gauss(50, 5) + (20 if i >= 3_000 else 0),
        "noise": lambda i, rng: rng.gauss(50, 15 if 3_000 <= i < 3_200 else 5),
        "flat": lambda i, rng: 50.0 if 3_000 <= i < 3_200 else rng.gauss(50 + 20 * math.sin(i / 45.8), 3),
        "day": lambda i, rng: rng.gauss(50 + 20 * math.sin(i / 45.8 + (3.1 if 3_000 <= i < 3_200 else 0)), 3),
        "stable": lambda _, rng: rng.gauss(50, 5),
        "stable day": lambda i, rng: rng.gauss(50 + 20 * math.sin(i / 45.8), 3),
        "stable heavy tail": lambda _, rng: rng.paretovariate(2.5),
    }
    out = []
    for kind, value in kinds.items():
        for seed in range(4):
            rng = random.Random(f"{kind}{seed}")
            values = [value(i, rng) for i in range(4_000)]
            windows = [] if kind.startswith("stable") else [(2_990, 3_200)]
            out.append(Series(f"{kind}/{seed}", [300 * i for i in range(4_000)], values, windows))
    return out


def sigmoid(x: float) -> float:
    return -1.0 if x > 3 else 2 / (1 + math.exp(5 * x)) - 1


def score(series: Series, alerts: Sequence[int], profile: str) -> tuple[float, int, int, int]:
    """(raw score, windows, windows hit, spurious alerts); alerts in the first 15 % do not count."""
    tp, fp, fn = PROFILES[profile]
    probation = min(math.floor(0.15 * len(series.values)), 750)
    total, spurious, best = 0.0, 0, dict[int, float]()
    for i in (i for i in alerts if i >= probation):
        inside = next((j for j, (a, b) in enumerate(series.windows) if a <= i <= b), None)
        if inside is not None:
            a, b = series.windows[inside]
            gain = sigmoid(-(b - i + 1) / (b - a + 1)) * tp / sigmoid(-1.0)
            best[inside] = max(best.get(inside, -fn), gain)
            continue
        past = [(a, b) for a, b in series.windows if b < i]
        total += fp * (sigmoid((i - past[-1][1]) / max(past[-1][1] - past[-1][0], 1)) if past else -1.0)
        spurious += 1
    live = [j for j, (_, b) in enumerate(series.windows) if b >= probation]
    return total + sum(best.get(j, -fn) for j in live), len(live), sum(j in best for j in live), spurious


def normal(
    all_series: Sequence[Series], alerts: dict[str, list[int]], profile: str
) -> tuple[float | None, int, int, int]:
    """The score from 0 (silence) to 100 (perfect) over several series; None where nothing is labelled."""
    parts = [score(series, alerts[series.name], profile) for series in all_series]
    got, count, hit, spurious = (sum(column) for column in zip(*parts, strict=True))
    tp, _, fn = PROFILES[profile]
    return (100 * (got + fn * count) / (count * (tp + fn)) if count else None), int(count), int(hit), int(spurious)


def groups(all_series: Sequence[Series]) -> Iterator[tuple[str, list[Series]]]:
    """Series by the part of their name before the slash."""
    names = sorted({series.name.split("/")[0] for series in all_series})
    for name in names:
        yield name, [series for series in all_series if series.name.split("/")[0] == name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--windows", type=Path)
    args = parser.parse_args()
    all_series = made() if args.data is None else recorded(args.data, args.windows)
    points = sum(len(series.values) for series in all_series)
    print(f"{len(all_series)} series, {points} points, {sum(len(series.windows) for series in all_series)} windows")
    print(f"{'':26} standard  low_fp  low_fn   hit  false alerts   us/point")
    result = {}
    for name, make in DETECTORS.items():
        start, alerts = time.process_time(), {}
        for series in all_series:
            detect = make()
            points_of = zip(series.values, series.seconds, strict=True)
            alerts[series.name] = [i for i, (value, seconds) in enumerate(points_of) if detect(value, seconds)]
        cost = 1e6 * (time.process_time() - start) / points
        scores = {profile: normal(all_series, alerts, profile) for profile in PROFILES}
        _, count, hit, spurious = scores["standard"]
        numbers = {profile: round(value[0] or 0.0, 2) for profile, value in scores.items()}
        print(
            f"{name:26} {numbers['standard']:8.1f} {numbers['low_fp']:7.1f} {numbers['low_fn']:7.1f}  "
            f"{hit:3}/{count:<3} {spurious:9}   {cost:8.1f}"
        )
        result[name] = {
            **numbers,
            "hit": hit,
            "windows": count,
            "false_alerts": spurious,
            "us_per_point": round(cost, 1),
        }
        if name == "ours":
            for group, members in groups(all_series):
                value, count, hit, spurious = normal(members, alerts, "standard")
                told = "    none" if value is None else f"{value:8.1f}"
                print(f"  {group:24} {told} {'':15}  {hit:3}/{count:<3} {spurious:9}")
    print("RESULT " + json.dumps({"bench": "anomaly", "recorded": args.data is not None, "detectors": result}))


if __name__ == "__main__":
    main()

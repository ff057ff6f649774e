"""How close to the cheapest policy that keeps the quality floor do we learn to act, and how does that compare?

Replays recorded outcomes call by call, as an application would live them: each call draws a prompt, a policy chooses a
variant, the recorded outcome of that variant comes back. Our policy is recomputed after every 25 outcomes. Score `E`:
the share of the possible saving (against always using the best variant) reached over the last 2,000 of 5,000 calls, 0
where the quality of these calls is below 95 % of the best variant's mean by more than one standard error. The possible
saving is that of the cheapest mixture per segment (without segments: of the cheapest fixed choice) in hindsight.

    python -m bench.policy FILE.csv.gz ... [--seeds 10] [--requests 5000] [--no-category] [--salt 0]

Files have the columns key, category, model, correct, cost_usd, latency_s. Without files a synthetic problem is used.
"""

import argparse
import csv
import gzip
import io
import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from optimizer.core.assignment import choose
from optimizer.core.learning import Evidence, learn
from optimizer.model import Constraint, Objective, Policy, Service, Variant

RATIO = 0.95
CADENCE = 25
TAIL = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one variant did with one prompt."""

    quality: float
    cost: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Data:
    """Every variant's outcome on every prompt, and the prompts' segments."""

    name: str
    variants: tuple[str, ...]
    segments: tuple[str, ...]
    outcomes: tuple[tuple[Outcome, ...], ...]

    def mean(self, variant: int, segment: str | None = None) -> tuple[float, float]:
        """Mean quality and cost of a variant, over all prompts or one segment's."""
        rows = [o[variant] for o, s in zip(self.outcomes, self.segments, strict=True) if segment in (None, s)]
        return statistics.fmean(r.quality for r in rows), statistics.fmean(r.cost for r in rows)


class Chooser:
    """A policy under test: chooses by segment and learns from what happened."""

    def choose(self, segment: str, unit: float) -> int:
        """The index of the variant for a call of this segment."""
        raise AssertionError(segment, unit)

    def learn(self, segment: str, variant: int, outcome: Outcome) -> None:
        """Take in the outcome of a call."""
        self.take(segment, variant, outcome.quality, outcome.cost, outcome.latency_ms)

    def take(self, segment: str, variant: int, quality: float | None, cost: float, latency_ms: float) -> None:
        """The same, where the quality may be unknown."""


class Learned(Chooser):
    """Ours, through the same functions that the server calls."""

    spent = 0.0
    count = 0

    def __init__(self, data: Data, best: int, rng: random.Random) -> None:
        del rng
        names = [f"v{i}" for i in range(len(data.variants))]
        self.service = Service(
            name="bench",
            objective=Objective(
                goal="minimize_cost", constraints=(Constraint(metric="quality", min_ratio_to_best=RATIO),)
            ),
            variants=tuple(Variant(name=name) for name in names),
            baseline=names[best],
        )
        self.evidence: dict[tuple[str, str], Evidence] = {}
        self.names = names
        self.events = 0
        self.recompute()

    def recompute(self) -> None:
        """A new policy from all evidence so far."""
        start = time.perf_counter()
        rows = learn(self.service, self.evidence)
        Learned.spent += time.perf_counter() - start
        Learned.count += 1
        for cell in rows.stale:
            self.evidence[cell].forget()
        self.policy = Policy(
            service="bench",
            version=0,
            cursor=self.events,
            seed=0,
            created_at=0,
            variants=tuple(self.names),
            baseline=self.service.index(self.service.baseline) or 0,
            default=rows.default,
            rows=rows.rows,
        )

    def choose(self, segment: str, unit: float) -> int:
        return choose(self.policy, segment, unit)[0]

    def take(self, segment: str, variant: int, quality: float | None, cost: float, latency_ms: float) -> None:
        self.events += 1
        cell = (segment, self.names[variant])
        if cell not in self.evidence:
            self.evidence[cell] = Evidence()
        self.evidence[cell].observe(self.events, quality=quality, cost=cost, latency=latency_ms)
        if self.events % CADENCE == 0:
            self.recompute()


class Thompson(Chooser):
    """Beta posteriors; one draw per call; the cheapest variant whose draw reaches the floor under the largest draw."""

    pooled = False

    def __init__(self, data: Data, best: int, rng: random.Random) -> None:
        del best
        self.rng = rng
        self.arms = len(data.variants)
        self.beta: dict[str, list[list[float]]] = defaultdict(lambda: [[1.0, 1.0] for _ in range(self.arms)])
        self.cost = [[0.0, 0.0] for _ in range(self.arms)]

    def choose(self, segment: str, unit: float) -> int:
        del unit
        draws = [self.rng.betavariate(a, b) for a, b in self.beta["" if self.pooled else segment]]
        floor = RATIO * max(draws)
        prices = [c / n if n else 0.0 for c, n in self.cost]
        return min((i for i in range(self.arms) if draws[i] >= floor), key=lambda i: (prices[i], i))

    def take(self, segment: str, variant: int, quality: float | None, cost: float, latency_ms: float) -> None:
        del latency_ms
        if quality is not None:
            cell = self.beta["" if self.pooled else segment][variant]
            cell[0] += quality
            cell[1] += 1.0 - quality
        self.cost[variant][0] += cost
        self.cost[variant][1] += 1.0


class GlobalThompson(Thompson):
    """The same without segments."""

    pooled = True


class Best(Chooser):
    """Always the variant that is best in hindsight."""

    def __init__(self, data: Data, best: int, rng: random.Random) -> None:
        del data, rng
        self.best = best

    def choose(self, segment: str, unit: float) -> int:
        del segment, unit
        return self.best


class Anyone(Chooser):
    """Any variant with equal probability."""

    def __init__(self, data: Data, best: int, rng: random.Random) -> None:
        del best, rng
        self.arms = len(data.variants)

    def choose(self, segment: str, unit: float) -> int:
        del segment
        return int(unit * self.arms)


CHOOSERS: dict[str, Callable[[Data, int, random.Random], Chooser]] = {
    "learned": Learned,
    "Thompson per segment": Thompson,
    "Thompson, global": GlobalThompson,
    "always the best": Best,
    "random": Anyone,
}


def read(path: str) -> Data:
    """The prompts that every variant has an outcome for."""
    raw = Path(path).read_bytes()
    text = gzip.decompress(raw).decode() if path.endswith(".gz") else raw.decode()
    table: dict[str, dict[str, Outcome]] = defaultdict(dict)
    category: dict[str, str] = {}
    for row in csv.DictReader(io.StringIO(text)):
        latency = 1000.0 * float(row["latency_s"] or 0)
        table[row["model"]][row["key"]] = Outcome(float(row["correct"]), float(row["cost_usd"] or 0), latency)
        category[row["key"]] = row["category"]
    keys = sorted(set.intersection(*(set(column) for column in table.values())))
    variants = tuple(sorted(table))
    outcomes = tuple(tuple(table[v][k] for v in variants) for k in keys)
    return Data(Path(path).name.split(".")[0], variants, tuple(category[k] for k in keys), outcomes)


def synthetic(seed: int, prompts: int = 1200) -> Data:
    """A made-up problem: prices over two orders of magnitude, skill that differs by segment."""
    rng = random.Random(seed)
    segments, variants = rng.choice((4, 10, 25)), rng.choice((2, 3, 5))
    price = [1e-4 * 10 ** (2.2 * i / (variants - 1)) for i in range(variants)]
    skill = [0.6 + 0.28 * i / (variants - 1) + rng.gauss(0, 0.03) for i in range(variants)]
    cell = {
        (s, v): min(0.99, max(0.02, skill[v] + rng.gauss(0, 0.12))) for s in range(segments) for v in range(variants)
    }
    length = [math.exp(rng.gauss(0, 0.5)) for _ in range(segments)]
    weights = [rng.expovariate(1.0) + 0.1 for _ in range(segments)]
    drawn = rng.choices(range(segments), weights, k=prompts)
    outcomes = tuple(
        tuple(
            Outcome(float(rng.random() < cell[s, v]), price[v] * length[s] * math.exp(rng.gauss(0, 0.3)), 1000.0)
            for v in range(variants)
        )
        for s in drawn
    )
    names = tuple(f"variant-{v}" for v in range(variants))
    return Data(f"synthetic-{seed}", names, tuple(f"s{s}" for s in drawn), outcomes)


def cheapest(data: Data, floor: float) -> float:
    """The cost of the cheapest mixture per segment that keeps the floor, in hindsight."""
    names = sorted(set(data.segments))
    share = {s: data.segments.count(s) / len(data.segments) for s in names}
    cells = {s: [data.mean(v, s) for v in range(len(data.variants))] for s in names}

    def pick(lam: float) -> tuple[float, float]:
        chosen = {s: max(cells[s], key=lambda cell: lam * cell[0] - cell[1]) for s in names}
        return sum(share[s] * q for s, (q, _) in chosen.items()), sum(share[s] * c for s, (_, c) in chosen.items())

    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if pick(middle)[0] >= floor else (middle, high)
    (q0, c0), (q1, c1) = pick(low), pick(high)
    if q0 >= floor:
        return c0
    return c1 if q1 - q0 < 1e-12 else c0 + (floor - q0) / (q1 - q0) * (c1 - c0)


@dataclass(frozen=True, slots=True)
class Score:
    """One seed's result."""

    e: float
    held: bool
    quality: float
    cost: float


def replay(data: Data, make: Callable[[Data, int, random.Random], Chooser], args: argparse.Namespace) -> list[Score]:
    """One score per seed; every chooser meets the same prompts."""
    means = [data.mean(v) for v in range(len(data.variants))]
    best = max(range(len(means)), key=lambda v: means[v][0])
    q_best, c_best = means[best]
    floor = RATIO * q_best
    target = min(c for q, c in means if q >= floor) if args.no_category else cheapest(data, floor)
    scores = []
    for seed in range(args.seeds):
        rng = random.Random(f"{args.salt}-{seed}")
        units = random.Random(f"units-{args.salt}-{seed}")
        scale = rng.uniform(0.2, 5)
        chooser = make(data, best, random.Random(f"own-{args.salt}-{seed}"))
        tail: list[Outcome] = []
        for i in range(args.requests):
            prompt = rng.randrange(len(data.outcomes))
            segment = "" if args.no_category else data.segments[prompt]
            variant = chooser.choose(segment, units.random())
            outcome = data.outcomes[prompt][variant]
            chooser.learn(segment, variant, Outcome(outcome.quality, outcome.cost * scale, outcome.latency_ms))
            if i >= args.requests - TAIL:
                tail.append(outcome)
        quality, cost = statistics.fmean(o.quality for o in tail), statistics.fmean(o.cost for o in tail)
        held = quality >= floor - math.sqrt(floor * (1 - floor) / len(tail))
        saved = (c_best - cost) / (c_best - target) if c_best > target else float(cost <= c_best * 1.02)
        scores.append(Score(saved if held else 0.0, held, quality - floor, cost / c_best))
    return scores


def main(argv: Sequence[str] | None = None) -> None:
    """Print one table per problem and the RESULT line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--no-category", action="store_true")
    parser.add_argument("--salt", default="0")
    parser.add_argument("--only", default="", help="only the policies whose name contains this")
    args = parser.parse_args(argv)
    result: dict[str, object] = {}
    for data in [read(path) for path in args.files] or [synthetic(seed) for seed in (1, 2, 3)]:
        print(f"{data.name}: {len(data.variants)} variants, {len(set(data.segments))} segments, {len(data.outcomes)}")
        print(f"  {'policy':22} {'E':>7} {'worst':>7} {'floor':>7} {'quality - floor':>16} {'least':>8} {'cost':>7}")
        for name, make in CHOOSERS.items():
            if args.only not in name:
                continue
            scores = replay(data, make, args)
            e, held = statistics.fmean(s.e for s in scores), sum(s.held for s in scores)
            print(
                f"  {name:22} {e:7.4f} {min(s.e for s in scores):7.4f} {held:3}/{len(scores):3}"
                f" {statistics.fmean(s.quality for s in scores):+16.4f} {min(s.quality for s in scores):+8.4f}"
                f" {statistics.fmean(s.cost for s in scores):7.3f}",
                flush=True,
            )
            result[f"{data.name} {name}"] = {"E": round(e, 4), "floor_held": held, "seeds": len(scores)}
    milliseconds = 1000.0 * Learned.spent / max(Learned.count, 1)
    print(f"recomputation {milliseconds:.2f} ms on average over {Learned.count}")
    print("RESULT " + json.dumps({"bench": "policy", "learn_ms": round(milliseconds, 3), **result}))


if __name__ == "__main__":
    main()

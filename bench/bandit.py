"""What does learning cost, in money and in missed quality, when the world is not as textbooks have it?

    python -m bench.bandit [--trials 10] [--calls 6000] [--seed 1]

Seeded synthetic services: four segments of unequal traffic, four variants whose prices span two orders of magnitude and
whose skill differs by segment. Every policy meets the same services, segments and outcomes, in four situations: nothing
changes; at half time the variant that the cheapest policy relies on most fails far more often; outcomes come back after
500 further calls on average; seven of ten outcomes come back without a quality.

Regret is against the cheapest mixture per segment that keeps the floor (95 % of the best variant on the same calls),
known in hindsight and, where something changes, known again at once. Everything is counted in true means, so luck of
outcomes is not regret: the cost beyond that mixture's, in percent of it, and the blocks of 500 calls below the floor
with their mean lack of quality. `regret` adds to the cost what the missing quality would have cost at the shadow price.

Track-and-stop and LinUCB maximise one number: quality at its shadow price (in hindsight, before the change) less cost.
"""

import argparse
import json
import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.choosers import Gift, LinUCB, TrackAndStop
from bench.policy import Best, Chooser, Data, Learned, Outcome, Thompson, cheapest

RATIO = 0.95
CALLS = 6_000
BLOCK = 500
SEGMENTS = VARIANTS = 4
DELAY = 500.0
KNOWN = 0.3
Situation = Literal["stationary", "drift", "delayed", "missing"]
SITUATIONS: tuple[Situation, ...] = ("stationary", "drift", "delayed", "missing")
Means = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class World:
    """True mean quality and cost by segment and variant, traffic shares in percent, and what the best policy costs."""

    quality: Means
    cost: Means
    shares: tuple[int, ...]

    def data(self) -> Data:
        """The means as a table of a hundred calls."""
        drawn = [s for s, share in enumerate(self.shares) for _ in range(share)]
        rows = [tuple(map(Outcome, self.quality[s], self.cost[s], (0.0,) * VARIANTS)) for s in range(SEGMENTS)]
        return Data(
            "world",
            tuple(f"v{v}" for v in range(VARIANTS)),
            tuple(f"s{s}" for s in drawn),
            tuple(rows[s] for s in drawn),
        )

    def best(self) -> int:
        """The variant of the highest mean quality."""
        data = self.data()
        return max(range(VARIANTS), key=lambda v: data.mean(v)[0])

    def target(self) -> tuple[float, float]:
        """The cost per call of the cheapest mixture at the floor, and the shadow price of quality there."""
        data = self.data()
        floor = RATIO * data.mean(self.best())[0]
        here = cheapest(data, floor)
        return here, max(0.0, here - cheapest(data, floor - 1e-4)) / 1e-4


def world_of(rng: random.Random) -> World:
    """A service nobody has seen before."""
    weights = [rng.expovariate(1.0) + 0.2 for _ in range(SEGMENTS)]
    shares = [max(1, round(95 * w / sum(weights))) for w in weights]
    shares[0] += 100 - sum(shares)
    price = [1e-4 * 10 ** (2.0 * v / (VARIANTS - 1)) for v in range(VARIANTS)]
    length = [math.exp(rng.gauss(0, 0.4)) for _ in range(SEGMENTS)]
    skill = [0.62 + 0.28 * v / (VARIANTS - 1) for v in range(VARIANTS)]
    quality = tuple(tuple(min(0.98, max(0.05, q + rng.gauss(0, 0.1))) for q in skill) for _ in range(SEGMENTS))
    return World(quality, tuple(tuple(p * length[s] for p in price) for s in range(SEGMENTS)), tuple(shares))


def degraded(world: World, price: float) -> World:
    """The same after the variant that the cheapest policy uses most, bar the best one, lost 40 % of its quality."""
    use: dict[int, int] = defaultdict(int)
    for s, share in enumerate(world.shares):
        use[max(range(VARIANTS), key=lambda v: price * world.quality[s][v] - world.cost[s][v])] += share
    best = world.best()
    hit = max((v for v in range(VARIANTS) if v != best), key=lambda v: use[v])
    quality = tuple(tuple(0.6 * q if v == hit else q for v, q in enumerate(row)) for row in world.quality)
    return World(quality, world.cost, world.shares)


@dataclass(slots=True)
class Regret:
    """One policy on one service: sums over all calls."""

    paid: float = 0.0
    needed: float = 0.0
    lack_price: float = 0.0
    blocks: int = 0
    below: int = 0
    lack: float = 0.0

    def close(self, lacking: float, price: float) -> None:
        """Count a block whose quality lacked so much, as a sum over its calls (negative: it had more than needed)."""
        self.blocks += 1
        self.below += lacking > 1e-9
        self.lack += max(0.0, lacking) / BLOCK
        self.lack_price += max(0.0, lacking) * price


Make = Callable[[Data, int, random.Random, Gift], Chooser]
POLICIES: dict[str, Make] = {
    "ours": lambda data, best, rng, _: Learned(data, best, rng),
    "Thompson per segment": lambda data, best, rng, _: Thompson(data, best, rng),
    "track-and-stop": lambda data, _, __, gift: TrackAndStop(data, gift),
    "LinUCB": lambda data, _, __, gift: LinUCB(data, gift),
    "always the best": lambda data, best, rng, _: Best(data, best, rng),
}


def play(name: str, situation: Situation, seed: str, calls: int) -> Regret:
    """One policy on the service of this seed."""
    world = world_of(random.Random(f"world-{seed}"))
    (target, price), best = world.target(), world.best()
    rng = random.Random(f"calls-{seed}")
    gift = Gift(price, max(map(max, world.cost)))
    chooser = POLICIES[name](world.data(), best, random.Random(f"own-{seed}"), gift)
    late: dict[int, list[tuple[str, int, float | None, float]]] = defaultdict(list)
    found, lacking = Regret(), 0.0
    for i in range(calls):
        if situation == "drift" and i == calls // 2:
            world = degraded(world, price)
            (target, price), best = world.target(), world.best()
        for item in late.pop(i, ()):
            chooser.take(*item, 1000.0)
        s = rng.choices(range(SEGMENTS), world.shares)[0]
        luck, told, wait, unit, size = rng.random(), rng.random(), rng.random(), rng.random(), rng.gauss(-0.045, 0.3)
        v = chooser.choose(f"s{s}", unit)
        quality = None if situation == "missing" and told >= KNOWN else float(luck < world.quality[s][v])
        after = 1 + (int(-DELAY * math.log(1.0 - wait)) if situation == "delayed" else 0)
        late[i + after].append((f"s{s}", v, quality, world.cost[s][v] * math.exp(size)))
        found.paid += world.cost[s][v]
        found.needed += target
        lacking += RATIO * world.quality[s][best] - world.quality[s][v]
        if (i + 1) % BLOCK == 0:
            found.close(lacking, price)
            lacking = 0.0
    return found


def figures(trials: int, calls: int, seed: int) -> list[dict[str, object]]:
    """One row per situation and policy, over all services."""
    rows: list[dict[str, object]] = []
    for situation in SITUATIONS:
        for name in POLICIES:
            runs = [play(name, situation, f"{seed}-{trial}", calls) for trial in range(trials)]
            blocks = sum(run.blocks for run in runs)
            rows.append(
                {
                    "situation": situation,
                    "policy": name,
                    "cost_excess": round(statistics.fmean(run.paid / run.needed - 1.0 for run in runs), 4),
                    "below_floor": round(sum(run.below for run in runs) / blocks, 4),
                    "mean_lack": round(sum(run.lack for run in runs) / blocks, 5),
                    "regret": round(statistics.fmean((run.paid + run.lack_price) / run.needed - 1 for run in runs), 4),
                }
            )
    return rows


HEAD = ("situation", "policy", "cost excess", "blocks below the floor", "mean lack of quality", "regret")


def table(rows: list[dict[str, object]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    for row in rows:
        first, second, excess, below, lack, regret = row.values()
        cells = [first, second, f"{excess:.1%}", f"{below:.1%}", f"{lack:.2%}", f"{regret:.1%}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run, print the table and the result line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    began = time.perf_counter()
    rows = figures(args.trials, args.calls, args.seed)
    print(table(rows))
    took = round(time.perf_counter() - began, 1)
    print("RESULT " + json.dumps({"bench": "bandit", "services": args.trials, "seconds": took, "bandit": rows}))


if __name__ == "__main__":
    main()

"""Do the verdicts keep their declared error rates, what does learning cost, and how soon is a change noticed?

Three parts. `judge` simulates canaries over four kinds of outcomes (pass/fail, bounded scores, heavy-tailed latency,
zero-inflated cost) in four situations: no difference (A/A), a difference exactly at the guardrail's bound (the hardest
truth for both errors), a harmful one, and a helpful one. Each canary is judged after every block (one outcome of each
arm) up to the limit; an error counts if it happens at any look. In the same run, on the same outcomes: a mixture SPRT
at every look, a z test at every look, and a z test once at the limit.

`bandit` is bench.bandit (our learning policy against per-segment Thompson, track-and-stop and LinUCB), one service for
every 250 trials; `drift` is bench.drift (our detector against ADWIN, Page-Hinkley, CUSUM and one that always alarms),
one stream of each kind for every 200.

    python -m bench.decisions [--trials 2500] [--limit 850] [--seed 1] [--parts judge bandit drift]
                              [--write docs/statistics.md]

With --write the tables of these parts between the markers of that document are replaced.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import bandit, drift
from bench.fleet import Flags, Fleet, Floats, Normal
from optimizer.core.judge import Guardrail

ALPHA, LEAST = 0.05, 50
PARTS = ("judge", "bandit", "drift")
TESTS = ("ours", "mSPRT", "z every look", "z at the end")
Draw = Callable[[np.random.Generator, int, float], Floats]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of outcome: how to draw `size` of them at a level, and the levels of the four situations."""

    name: str
    guardrail: Guardrail
    draw: Draw
    baseline: float
    bound: float
    harmful: float
    helpful: float


def passes(rng: np.random.Generator, size: int, level: float) -> Floats:
    """Pass or fail."""
    return (rng.random(size) < level).astype(np.float64)


def scores(rng: np.random.Generator, size: int, level: float) -> Floats:
    """Scores between 0 and 1 with the mean `level`."""
    return rng.beta(6.0 * level, 6.0 * (1.0 - level), size)


def latencies(rng: np.random.Generator, size: int, level: float) -> Floats:
    """Log-normal with sigma 1.2: the largest of a thousand is about forty times the median."""
    return level * rng.lognormal(0.0, 1.2, size)


def costs(rng: np.random.Generator, size: int, level: float) -> Floats:
    """Six of ten are free (cached), the rest log-normal with sigma 1."""
    return np.where(rng.random(size) < 0.6, 0.0, level * rng.lognormal(-6.0, 1.0, size))


QUALITY = Guardrail(metric="quality", max_drop=0.03)
FAMILIES = (
    Family("pass/fail", QUALITY, passes, 0.80, 0.77, 0.65, 0.84),
    Family("bounded score", QUALITY, scores, 0.80, 0.77, 0.72, 0.82),
    Family(
        "latency, heavy tail",
        Guardrail(metric="latency_ms", max_increase_ratio=1.2),
        latencies,
        900.0,
        1080.0,
        1800.0,
        700.0,
    ),
    Family("cost, zero-inflated", Guardrail(metric="cost_usd", max_increase_ratio=1.2), costs, 1.0, 1.2, 2.0, 0.7),
)


@dataclass(slots=True)
class Ending:
    """When each canary of a test was first taken back or shown good (0: never), whichever came first."""

    back: NDArray[np.int64]
    good: NDArray[np.int64]

    def note(self, look: int, back: Flags, good: Flags) -> None:
        """Include the answers at one look."""
        open_ = (self.back == 0) & (self.good == 0)
        self.back[open_ & back] = look
        self.good[open_ & good & ~back] = look


def simulate(family: Family, level: float, trials: int, limit: int, rng: np.random.Generator) -> dict[str, Ending]:
    """Judge `trials` canaries whose candidate has the given level."""
    fleet, normal = Fleet(family.guardrail, limit, ALPHA, trials), Normal(family.guardrail, limit, trials)
    endings = {name: Ending(np.zeros(trials, np.int64), np.zeros(trials, np.int64)) for name in TESTS}
    nobody = np.zeros(trials, np.bool_)
    for look in range(1, limit + 1):
        baseline, candidate = family.draw(rng, trials, family.baseline), family.draw(rng, trials, level)
        broken, kept = fleet.step(baseline, candidate)
        normal.step(baseline, candidate)
        endings["ours"].note(look, broken, kept if look >= LEAST else nobody)
        if look < LEAST:
            continue
        endings["mSPRT"].note(look, *normal.mixture(ALPHA))
        z = normal.z()
        endings["z every look"].note(look, z > 1.645, z < -1.645)
        if look == limit:
            endings["z at the end"].note(look, z > 1.645, z < -1.645)
    return endings


def figures(family: Family, trials: int, limit: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """One row per test: error rates and power with median evidence."""
    levels = {"aa": family.baseline, "bound": family.bound, "harmful": family.harmful, "helpful": family.helpful}
    ends = {name: simulate(family, level, trials, limit, rng) for name, level in levels.items()}

    def rate(situation: str, test: str, what: str) -> float:
        return round(float((getattr(ends[situation][test], what) > 0).mean()), 4)

    def median(situation: str, test: str, what: str) -> int | None:
        looks = getattr(ends[situation][test], what)
        return int(np.median(looks[looks > 0])) if (looks > 0).any() else None

    return [
        {
            "family": family.name,
            "test": test,
            "false_back_aa": rate("aa", test, "back"),
            "false_back_bound": rate("bound", test, "back"),
            "false_good_bound": rate("bound", test, "good"),
            "harm_found": rate("harmful", test, "back"),
            "harm_median": median("harmful", test, "back"),
            "equal_shown": rate("aa", test, "good"),
            "help_shown": rate("helpful", test, "good"),
            "help_median": median("helpful", test, "good"),
        }
        for test in TESTS
    ]


HEAD = (
    "outcomes",
    "test",
    "false rollback, A/A",
    "false rollback, at the bound",
    "false promotion, at the bound",
    "harm found",
    "median blocks",
    "equal shown",
    "better shown",
    "median blocks",
)


def table(rows: list[dict[str, object]]) -> str:
    """The rows as a Markdown table."""

    def cell(value: object) -> str:
        return f"{value:.2%}" if isinstance(value, float) else "-" if value is None else str(value)

    lines = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)


def write(document: Path, part: str, text: str) -> None:
    """Replace what stands between the part's markers in the document."""
    begin, end = f"<!-- measured {part}: begin -->", f"<!-- measured {part}: end -->"
    before, rest = document.read_text().split(begin, 1)
    document.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}")


Measured = tuple[str, object]
"""The text of a part and its figures for the result line."""


def judge(args: argparse.Namespace) -> Measured:
    """The error rates and the evidence that verdicts need."""
    rows: list[dict[str, object]] = []
    for index, family in enumerate(FAMILIES):
        rows += figures(family, args.trials, args.limit, np.random.default_rng([args.seed, index]))
    canaries = args.trials * 4 * len(FAMILIES)
    note = (
        f"{canaries:,} canaries, at most {args.limit} blocks each, level {ALPHA:.0%} for each error, seed {args.seed}."
    )
    return f"{note}\n\n{table(rows)}", rows


def learning(args: argparse.Namespace) -> Measured:
    """What learning costs."""
    services = max(2, args.trials // 250)
    rows = bandit.figures(services, bandit.CALLS, args.seed)
    note = f"{services} services of {bandit.CALLS:,} calls in each situation, seed {args.seed}."
    return f"{note}\n\n{bandit.table(rows)}", rows


def watching(args: argparse.Namespace) -> Measured:
    """False alarms and delays of change detection."""
    tallies = drift.run(drift.simulated(), max(1, args.trials // 200))
    changes = sum(tallies["ours"].changed.values())
    calls = drift.BEFORE + drift.AFTER
    note = f"{tallies['ours'].stable} stable streams and {changes} with a change, {calls:,} calls each."
    return f"{note}\n\n{drift.markdown(tallies)}", drift.figures(tallies)


MEASURE: dict[str, Callable[[argparse.Namespace], Measured]] = {"judge": judge, "bandit": learning, "drift": watching}


def main() -> None:
    """Run, print the table and the result line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2500)
    parser.add_argument("--limit", type=int, default=850)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    canaries = args.trials * 4 * len(FAMILIES) if "judge" in args.parts else 0
    result: dict[str, object] = {"bench": "decisions", "canaries": canaries}
    seconds: dict[str, float] = {}
    for part in args.parts:
        began = time.perf_counter()
        text, result[part] = MEASURE[part](args)
        seconds[part] = round(time.perf_counter() - began, 1)
        print(f"{part}: {text}\n", flush=True)
        if args.write:
            write(args.write, part, text)
    print("RESULT " + json.dumps({**result, "seconds": seconds}))


if __name__ == "__main__":
    main()

"""How often does a canary of ours end right, how soon, and what would common rules have done on the same calls?

Replays recorded outcomes through the rollout machine, call by call: two configurations with disjoint prompts, stages
50 % and 100 %, least evidence 50, at most 850 calls per arm, quality guardrail 3 points, status read every 25 calls. On
the same sequence of calls (half and half, to the end): a two-arm mixture SPRT, a z test at every reading, and the rule
"5 points worse".

    python -m bench.canary [OUTCOMES.csv.gz PAIRS.csv] [--trials 20] [--salt 0] [--max-drop 0.03]

OUTCOMES has the columns key, model, correct; PAIRS has baseline, candidate, dq, truth. Without files a synthetic set
is used. `found` counts drops of 12 points or more, `good` are candidates that are equal or better.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from optimizer.core.judge import Guardrail, Outcome
from optimizer.core.rollout import Observed, RolloutSpec, apply, sees_candidate, start

PER_ARM, LOOK, LEAST, ALPHA = 850, 25, 50, 0.05
Table = dict[str, dict[str, float]]
Result = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Pair:
    """A baseline and a candidate with the true difference of their quality."""

    baseline: str
    candidate: str
    difference: float
    truth: str


@dataclass(slots=True)
class Arms:
    """Counts and sums of both arms, for the rules that are compared with."""

    n: list[int] = field(default_factory=lambda: [0, 0])
    s: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, candidate: bool, value: float) -> None:
        """Include one outcome."""
        self.n[candidate] += 1
        self.s[candidate] += value

    @property
    def difference(self) -> float:
        """Candidate's mean minus the baseline's."""
        return self.s[1] / self.n[1] - self.s[0] / self.n[0]

    @property
    def error(self) -> float:
        """Standard error of the difference, with half a success and half a failure added to each arm."""
        p = [(s + 0.5) / (n + 1) for s, n in zip(self.s, self.n, strict=True)]
        return math.sqrt(sum(q * (1 - q) / n for q, n in zip(p, self.n, strict=True)))


Rule = Callable[[Arms, float], str | None]


def mixture(arms: Arms, margin: float) -> str | None:
    """Two-arm mixture SPRT (Johari et al. 2015) with a normal prior of 10 points."""
    tau, error = 0.1**2, arms.error**2

    def rejects(null: float) -> bool:
        gap = arms.difference - null
        log = 0.5 * math.log(error / (error + tau)) + gap * gap * tau / (2 * error * (error + tau))
        return log >= math.log(1 / ALPHA)

    if arms.difference < 0 and rejects(0.0):
        return "rolled_back"
    return "promoted" if arms.difference > -margin and rejects(-margin) else None


def naive(arms: Arms, _margin: float) -> str | None:
    """A two-sided z test at 5 %, repeated at every reading."""
    z = arms.difference / arms.error
    return "rolled_back" if z < -1.96 else "promoted" if z > 1.96 else None


def points(arms: Arms, _margin: float) -> str | None:
    """Back when the candidate looks more than 5 points worse."""
    return "rolled_back" if arms.difference < -0.05 else None


RULES: dict[str, Rule] = {"mSPRT": mixture, "naive z": naive, "5 points worse": points}


def feeds(base: dict[str, float], cand: dict[str, float], rng: random.Random) -> tuple[list[float], list[float]]:
    """Outcomes of the two configurations on disjoint halves of their common prompts, in random order."""
    keys = sorted(set(base) & set(cand))
    rng.shuffle(keys)
    half = len(keys) // 2
    return [base[k] for k in keys[:half]], [cand[k] for k in keys[half:]]


def ours(streams: tuple[list[float], list[float]], salt: str, margin: float) -> Result:
    """One rollout; its status as read every 25 calls, and the calls of the candidate's arm by then."""
    spec = RolloutSpec(
        service="bench",
        baseline="base",
        candidate="cand",
        stages=(50.0, 100.0),
        stage_min_s=0.0,
        stage_min_events=LEAST,
        guardrails=(Guardrail(metric="quality", max_drop=margin),),
        alpha=ALPHA,
        max_events=PER_ARM,
    )
    rollout, _ = start("bench", spec, salt, 0)
    used = [0, 0]
    for i in range(4 * PER_ARM):
        candidate = sees_candidate(salt, f"user-{i}", rollout.share)
        if used[candidate] >= min(PER_ARM, len(streams[candidate])):
            break
        outcome = Outcome(candidate=candidate, values={"quality": streams[candidate][used[candidate]]})
        used[candidate] += 1
        rollout, _ = apply(rollout, Observed(i, outcome))
        if i % LOOK == LOOK - 1 and rollout.status != "running":
            break
    return rollout.status, used[1]


def theirs(streams: tuple[list[float], list[float]], salt: str, margin: float) -> dict[str, Result]:
    """The same calls judged by the other rules; a rule that never answers ends as inconclusive."""
    arms, found = Arms(), dict[str, Result]()
    for i in range(4 * PER_ARM):
        candidate = sees_candidate(salt, f"user-{i}", 0.5)
        if arms.n[candidate] >= min(PER_ARM, len(streams[candidate])):
            break
        arms.add(candidate, streams[candidate][arms.n[candidate]])
        if i % LOOK == LOOK - 1 and min(arms.n) >= LEAST:
            for name, rule in RULES.items():
                answer = None if name in found else rule(arms, margin)
                if answer:
                    found[name] = (answer, arms.n[1])
    return {name: found.get(name, ("inconclusive", arms.n[1])) for name in RULES}


def trials(
    base: dict[str, float], cand: dict[str, float], seeds: Sequence[str], margin: float
) -> dict[str, list[Result]]:
    """Results of every rule for each seed."""
    results: dict[str, list[Result]] = {name: [] for name in ("ours", *RULES)}
    for seed in seeds:
        streams = feeds(base, cand, random.Random(seed))
        results["ours"].append(ours(streams, seed, margin))
        for name, result in theirs(streams, seed, margin).items():
            results[name].append(result)
    return results


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV file, compressed or not."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return csv.DictReader(io.StringIO(raw.decode()))


def recorded(outcomes: Path, pairs: Path) -> tuple[Table, list[Pair]]:
    """The recorded outcomes by model and prompt, and the pairs to compare."""
    table: Table = {}
    for row in rows(outcomes):
        table.setdefault(row["model"], {})[row["key"]] = float(row["correct"])
    return table, [Pair(r["baseline"], r["candidate"], float(r["dq"]), r["truth"]) for r in rows(pairs)]


def synthetic() -> tuple[Table, list[Pair]]:
    """Independent Bernoulli outcomes with known differences."""
    rng = random.Random(7)
    rates = {"m80": 0.80, "m805": 0.805, "m83": 0.83, "m90": 0.90, "m77": 0.77, "m68": 0.68, "m60": 0.60}
    table = {name: {str(i): float(rng.random() < rate) for i in range(1700)} for name, rate in rates.items()}
    pairs = []
    for name, rate in rates.items():
        gap = rate - 0.80
        truth = "DEGRADED" if gap < -0.03 else "AMBIGUOUS" if gap < 0 else "BETTER"
        if name != "m80":
            pairs.append(Pair("m80", name, gap, truth))
    return table, pairs


def share(results: Sequence[Result], status: str) -> float:
    """The share of results with the status."""
    return sum(found == status for found, _ in results) / len(results)


def score(by_pair: list[tuple[Pair, list[Result]]], null: list[Result]) -> dict[str, float | None]:
    """The figures of the protocol for one rule."""
    big = [r for pair, r in by_pair if pair.truth == "DEGRADED" and pair.difference <= -0.12]
    good = [r for pair, r in by_pair if pair.truth in ("EQUIVALENT", "BETTER")]
    medians = [statistics.median([n for s, n in r if s == "rolled_back"] or [9999]) for r in big]
    return {
        "aa_false_rollback": round(share(null, "rolled_back"), 4),
        "aa_promoted": round(share(null, "promoted"), 4),
        "big_drop_found": round(statistics.fmean(share(r, "rolled_back") for r in big), 4) if big else None,
        "big_drop_median_calls": max(medians, default=None),
        "good_kept": round(1 - statistics.fmean(share(r, "rolled_back") for r in good), 4) if good else None,
        "good_promoted": round(statistics.fmean(share(r, "promoted") for r in good), 4) if good else None,
    }


def main() -> None:
    """Run, print the tables and the result line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--salt", default="0")
    parser.add_argument("--max-drop", type=float, default=0.03)
    args = parser.parse_args()
    table, pairs = recorded(*args.files) if args.files else synthetic()
    began = time.perf_counter()
    by_rule: dict[str, list[tuple[Pair, list[Result]]]] = {}
    for pair in pairs:
        seeds = [f"{args.salt}-{pair.candidate}-{t}" for t in range(args.trials)]
        for name, results in trials(table[pair.baseline], table[pair.candidate], seeds, args.max_drop).items():
            by_rule.setdefault(name, []).append((pair, results))
            if name == "ours":
                back = [n for s, n in results if s == "rolled_back"]
                median = statistics.median(back) if back else None
                print(
                    f"{pair.truth:10s} {pair.difference:+.4f}: back {share(results, 'rolled_back'):.3f} "
                    f"(median calls {median}), promoted {share(results, 'promoted'):.3f}"
                )
    null: dict[str, list[Result]] = {}
    models = sorted(table)
    for t in range(args.trials * 5):
        same = table[models[t % len(models)]]
        for name, results in trials(same, same, [f"{args.salt}-aa-{t}"], args.max_drop).items():
            null.setdefault(name, []).extend(results)
    scores = {name: score(results, null[name]) for name, results in by_rule.items()}
    for name, figures in scores.items():
        print(f"{name:15s} " + "  ".join(f"{key} {value}" for key, value in figures.items()))
    took = round(time.perf_counter() - began, 1)
    print("RESULT " + json.dumps({"bench": "canary", "trials": args.trials, "seconds": took, **scores}))


if __name__ == "__main__":
    main()

"""Rollouts of random shape on candidates exactly at the bound: legal histories, equal replays, declared error rates.

One seed is one rollout.
"""

import math
import random
from collections import Counter

import msgspec

from optimizer.core.judge import Guardrail, Outcome
from optimizer.core.rollout import Command, Input, Observed, Rollout, RolloutSpec, Tick, apply, apply_all, start
from optimizer.model import FailedPrecondition

ALPHA = 0.05
SECOND = 1_000_000
OVER = {"promoted", "rolled_back", "inconclusive", "cancelled"}


def random_spec(rng: random.Random) -> RolloutSpec:
    """Stages, least evidence and horizon at random; one quality guardrail."""
    stages = sorted(rng.sample([5.0, 10.0, 25.0, 50.0, 75.0], rng.randint(1, 3)))
    least = rng.choice([10, 30, 60])
    return RolloutSpec(
        service="s",
        baseline="a",
        candidate="b",
        stages=(*stages, 100.0),
        stage_min_s=rng.choice([0.0, 20.0]),
        stage_min_events=least,
        guardrails=(Guardrail(metric="quality", max_drop=rng.choice([0.0, 0.03, 0.1])),),
        alpha=ALPHA,
        max_events=rng.choice([120, 300, 600]),
        timeout_s=None,
    )


def drive(rng: random.Random, rollout: Rollout) -> tuple[Rollout, list[Input]]:
    """Feed outcomes of a candidate exactly at the bound, ticks, pauses and resumes, until it is over."""
    margin = rollout.spec.guardrails[0].bound[1]
    level = rng.uniform(0.15, 0.95)
    now, inputs = 0, list[Input]()
    for _ in range(40_000):
        now += SECOND
        roll = rng.random()
        event: Input
        if roll < 0.01:
            event = Tick(now)
        elif roll < 0.013:
            event = Command(now, "resume" if rollout.status == "paused" else "pause", "campaign")
        else:
            candidate = rng.random() < rollout.share
            quality = float(rng.random() < level - margin * candidate)
            event = Observed(now, Outcome(candidate=candidate, values={"quality": quality}))
        inputs.append(event)
        rollout, _ = apply(rollout, event)
        if rollout.status in OVER:
            break
    return rollout, inputs


def faults(first: Rollout, last: Rollout, inputs: list[Input]) -> list[str]:
    """What is wrong with a finished rollout."""
    found = []
    stages = [entry.stage for entry in last.history if entry.event == "advanced"]
    if stages != list(range(1, len(stages) + 1)):
        found.append(f"stages {stages}")
    if sum(entry.status in OVER for entry in last.history) != 1:
        found.append("not exactly one ending")
    if last.status == "promoted" and not any(v.kept for entry in last.history for v in entry.verdicts):
        found.append("promoted without proof")
    half = len(inputs) // 2
    middle, _ = apply_all(first, inputs[:half])
    stored = msgspec.msgpack.decode(msgspec.msgpack.encode(middle), type=Rollout)
    again, _ = apply_all(stored, inputs[half:])
    if msgspec.msgpack.encode(again) != msgspec.msgpack.encode(last):
        found.append("the replay differs")
    try:
        apply(last, Command(0, "resume", "campaign"))
        found.append("a finished rollout resumed")
    except FailedPrecondition:
        pass
    return found


def main(seeds: int) -> int:
    """Run, print the endings and every fault; the number of faults, one more for each error rate above its level."""
    endings, failures = Counter[str](), 0
    for seed in range(seeds):
        rng = random.Random(seed)
        first, _ = start(f"r{seed}", random_spec(rng), f"salt{seed}", 0)
        last, inputs = drive(rng, first)
        endings[last.status] += 1
        for fault in faults(first, last, inputs):
            print(f"seed {seed}: {fault}")
            failures += 1
    bound = seeds * ALPHA + 3.5 * math.sqrt(seeds * ALPHA * (1 - ALPHA))
    wrong = sum(endings[status] > bound for status in ("promoted", "rolled_back"))
    print(f"rollouts: {dict(endings)}, each error at most {bound:.0f} of {seeds}; {failures} faults")
    return failures + wrong

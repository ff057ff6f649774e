"""The whole server under seeded faults in virtual time: `python -m tests.campaign --part simulation --seeds 10000`."""

import time

from tests.simulation.campaign import explain, run_many
from tests.simulation.faults import Kind


def main(seeds: int) -> int:
    """Run that many seeds and print what happened; the number of seeds that failed, and of faults never seen."""
    began = time.monotonic()
    summary = run_many(range(seeds))
    took = time.monotonic() - began
    print(
        f"simulation: {summary.runs} runs, {summary.lives} processes, {summary.acknowledged} events acknowledged, "
        f"{summary.steps} steps, {summary.virtual_s:.0f} virtual s in {took:.0f} s: {len(summary.failed)} violations"
    )
    for kind in Kind:
        print(f"  {summary.seen[kind.value] / max(summary.runs, 1):6.1%} of the runs: {kind.value}")
    print(f"  {summary.opened / max(summary.runs, 1):6.1%} of the runs: the store's breaker opened")
    for seed, violations in summary.failed:
        print(f"  seed {seed}: {violations[0]}")
    if summary.failed:
        print(explain(summary.failed[0][0]))
    return len(summary.failed) + len(summary.missing())

"""Every planted bug has to be found: `python -m tests.campaign --part planted --seeds 10000` (seeds per bug)."""

import os
from multiprocessing.pool import ThreadPool

from tests.simulation.hunt import hunt
from tests.simulation.planted import PLANTED


def main(seeds: int) -> int:
    """Hunt them all; the number that stayed hidden."""
    hidden = 0
    with ThreadPool(len(os.sched_getaffinity(0))) as pool:
        for bug, found in zip(PLANTED, pool.imap(lambda bug: hunt(bug, seeds), PLANTED), strict=True):
            hidden += found is None
            print(f"  {'HIDDEN' if found is None else 'found '} {bug.name}: {found}", flush=True)
    print(f"planted: {len(PLANTED)} bugs, {hidden} stayed hidden")
    return hidden

"""Whole servers drained with 200 gRPC calls in flight: `python -m tests.campaign --part drain --seeds 50`."""

import random
import statistics
import tempfile
from collections import Counter
from pathlib import Path

from tests.processes.drain import IN_FLIGHT, Load, check_kept, count_codes
from tests.processes.server import environment, make_token, start
from tests.processes.test_signals import ORDER, declare


def main(seeds: int) -> int:
    """Load, stop, start again, compare; the number of drains in which anything was not exact."""
    failures = total = 0
    open_calls: list[int] = []
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        environ = environment(Path(folder))
        token = make_token(environ)
        server = start(environ, token)
        declare(server)
        for seed in range(seeds):
            seen = Load(server, seed).run(random.Random(seed).uniform(0, 0.5))
            server = start(environ, token)
            lost, total = check_kept(server, seen, total)
            faults = seen.faults() + lost
            if seen.exit_code != 0 or seen.order != ORDER:
                faults.append(f"exit {seen.exit_code}, order {seen.order}")
            if faults:
                failures += 1
                print(f"  seed {seed}: {len(faults)} faults: " + "; ".join(faults[:5]), flush=True)
            open_calls.append(seen.open_calls)
            ends.update(count_codes(seen))
        if server.stop() != 0:
            failures += 1
    print(
        f"drain: {seeds} drains with {IN_FLIGHT} calls in flight, {failures} not exact; open at the server when it "
        f"began: {min(open_calls)} to {max(open_calls)}, median {statistics.median(open_calls):.0f}; "
        f"ends: {dict(ends)}; {total} events, none lost or doubled where no fault is told"
    )
    return failures

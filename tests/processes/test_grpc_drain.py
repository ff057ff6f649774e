"""SIGTERM with 200 gRPC calls in flight: the accepted succeed, the refused were not begun, nothing is lost."""

import random
from pathlib import Path

from tests.processes.drain import IN_FLIGHT, Load, check_kept
from tests.processes.server import environment, make_token, start
from tests.processes.test_signals import ORDER, declare

DRAINS = 3


def test_a_drain_keeps_every_call_that_was_accepted(tmp_path: Path) -> None:
    assert IN_FLIGHT == 200
    rng = random.Random(3)
    environ = environment(tmp_path)
    token = make_token(environ)
    server = start(environ, token)
    try:
        declare(server)
        total = 0
        for number in range(DRAINS):
            seen = Load(server, number).run(rng.uniform(0, 0.2))
            assert seen.faults() == []
            assert seen.exit_code == 0
            assert seen.order == ORDER
            assert seen.open_calls >= 80, "uploads, exchanges and subscriptions were open when the drain began"
            server = start(environ, token)
            faults, total = check_kept(server, seen, total)
            assert faults == []
        assert server.stop() == 0
    finally:
        if server.process.poll() is None:
            server.kill()

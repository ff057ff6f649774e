"""10: the real tree with stand-in services: the sequences of the founding document, the exit codes, the endpoint."""

import json
import random
from collections.abc import Sequence

import httpx
import pytest
import trio

from optimizer.config import Settings
from optimizer.nurseries import ServiceSpec
from optimizer.nurseries.services import declare_services
from optimizer.nurseries.tree import Exit, serve
from optimizer.observability import LineList, open_logging
from optimizer.root import Parts, Surroundings
from tests.tree.standins import ORDER, Boom, StandIn

SETTINGS = Settings.model_validate(
    {
        "observability": {"metrics_port": 0},
        "rest_api": {"port": 0},
        "grpc_api": {"port": 0},
        "storage": {"backend": "memory"},
        "security": {"jwt_secret": "only for the tests of the tree 0123456789"},
    }
)


def surroundings(**changes: object) -> Surroundings:
    """Surroundings of a test: no signals, nothing to load."""
    return Surroundings(load=lambda: SETTINGS, rng=random.Random(1), signals=False, **changes)  # type: ignore[arg-type]


async def run_briefly(around: Surroundings, logged: LineList) -> Exit:
    """Start the real table, stop as soon as everything serves."""
    exits: list[Exit] = []
    with open_logging("info", json=True, sink=logged):
        async with trio.open_nursery() as nursery:

            async def run(*, task_status: trio.TaskStatus[Parts]) -> None:
                exits.append(await serve(SETTINGS, declare_services, around, task_status=task_status))

            parts = await nursery.start(run)
            parts.stop.request("test")
    return exits[0]


async def test_sequences_are_in_the_log_and_the_exit_is_clean() -> None:
    logged = LineList()
    assert await run_briefly(surroundings(), logged) is Exit.CLEAN
    records = [json.loads(line) for line in logged.lines]
    assert [r["step"] for r in records if r["event"] == "startup"] == [6, 7, 8, 9, 10, 11, 12]
    assert [r["step"] for r in records if r["event"] == "shutdown"] == [1, 2, 3, 4, 5, 6]
    assert [r["service"] for r in records if r["event"] == "service started" and r["service"] in ORDER] == list(ORDER)
    stopped = [r["service"] for r in records if r["event"] == "service stopped" and r["service"] in ORDER]
    assert stopped == list(reversed(ORDER))
    report = next(r for r in records if r.get("done") == "final health report")
    assert {name: s["state"] for name, s in report["services"].items()} == dict.fromkeys(ORDER, "Stopped")


async def test_operators_endpoint_answers_while_the_tree_runs() -> None:
    ports: dict[str, int] = {}
    exits: list[Exit] = []
    async with trio.open_nursery() as nursery:

        async def run(*, task_status: trio.TaskStatus[Parts]) -> None:
            around = surroundings(on_port=ports.__setitem__)
            exits.append(await serve(SETTINGS, declare_services, around, task_status=task_status))

        parts = await nursery.start(run)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports['metrics']}") as client:
            health = (await client.get("/health")).json()
            assert health["status"] == "healthy"
            assert health["services"]["grpc_api"]["state"] == "Running"
            assert "nothing to do" in health["services"]["integrations"]["message"]
            assert (await client.get("/health/ready")).status_code == 200
            assert 'service_status{service="storage"} 1.0' in (await client.get("/metrics")).text
            assert (await client.post("/metrics")).status_code == 405
            assert (await client.get("/else")).status_code == 404
        parts.stop.request("test")
        assert not parts.board.ready()
    assert exits == [Exit.CLEAN]


@pytest.mark.parametrize("name", ORDER)
async def test_a_failed_start_names_the_service_and_stops_the_others(
    name: str, autojump_clock: trio.testing.MockClock
) -> None:
    logged = LineList()

    def declare(parts: Parts) -> Sequence[ServiceSpec]:
        broken = StandIn(name, trio.Event(), start_error=Boom("no room"))
        return [
            ServiceSpec(name=s.name, run=broken.run, needs=s.needs, stage=s.stage) if s.name == name else s
            for s in declare_services(parts)
        ]

    with open_logging("info", json=True, sink=logged):
        assert await serve(SETTINGS, declare, surroundings()) is Exit.START_FAILED
    records = [json.loads(line) for line in logged.lines]
    stopped = [r["service"] for r in records if r["event"] == "service stopped" and r["service"] in ORDER]
    assert stopped == list(reversed(ORDER[: ORDER.index(name)]))
    why = next(r for r in records if r["event"] == "a service could not be started")
    assert name in why["error"]
    assert "no room" in why["cause"]


async def test_a_circle_of_needs_is_a_configuration_error() -> None:
    def declare(parts: Parts) -> Sequence[ServiceSpec]:
        run = StandIn("a", trio.Event()).run
        return [ServiceSpec(name="a", run=run, needs=("b",)), ServiceSpec(name="b", run=run, needs=("a",))]

    logged = LineList()
    with open_logging("info", json=True, sink=logged):
        assert await serve(SETTINGS, declare, surroundings()) is Exit.BAD_CONFIGURATION
    assert logged.containing("a -> b -> a")

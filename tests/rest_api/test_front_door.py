"""The JSON front door: the loop through it, its errors, its access rules."""

import orjson
import pytest
import trio
import trio.testing

from optimizer.model import StorageUnavailable
from tests.rest_api.conftest import SERVICE, open_door

EVENT = {"event_id": "e1", "occurred_at": "2026-05-01T00:00:00Z", "service": "chat", "variant": "a", "input_tokens": 7}


async def test_the_loop_through_the_door() -> None:
    async with open_door() as door, door.client() as api:
        declared = await api.put("/api/v1/services/chat", json=SERVICE)
        assert declared.status_code == 200
        assert declared.json()["variants"][1] == {"name": "b", "config": {}}
        choice = (await api.post("/api/v1/services/chat/decide", json={"context": {"task": "x"}})).json()
        assert choice["variant"] in ("a", "b")
        assert 0 < choice["probability"] <= 1
        event = {**EVENT, "assignment_id": choice["assignment_id"], "variant": choice["variant"], "quality": 1}
        receipt = await api.post("/api/v1/feedback", json={"events": [event, event]})
        assert receipt.json() == {"accepted": 1, "duplicates": 1, "rejected": []}
        score = {"score_id": "s1", "assignment_id": choice["assignment_id"], "value": 0.5, "source": "human"}
        scored = await api.post("/api/v1/scores", json={"scores": [{**score, "occurred_at": "2026-05-01T01:00:00Z"}]})
        assert scored.json()["accepted"] == 1
        while True:
            report = (await api.get("/api/v1/services/chat/report?segment_by=task")).json()
            if report["totals"]["events"] and report["totals"]["quality"]["mean"] == 0.5:
                break
        assert report["totals"]["input_tokens"] == 7
        assert report["segments"]["task=x"]["variants"][choice["variant"]]["events"] == 1
        told = (await api.get(f"/api/v1/services/chat/explain/{choice['assignment_id']}")).json()
        assert told["probability"] == choice["probability"]
        assert [s["name"] for s in (await api.get("/api/v1/services")).json()["services"]] == ["chat"]
        assert (await api.delete("/api/v1/services/chat")).status_code == 204
        assert (await api.get("/api/v1/services/chat")).status_code == 404


BAD_BODIES = [
    b"",
    b"{",
    b"null",
    b"[]",
    b"42",
    b'"x"',
    b"\xff\xfe",
    b'{"events": 3}',
    b'{"events": [], "more": 1}',
    b'{"events": NaN}',
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda b: repr(b[:20]))
@pytest.mark.parametrize("path", ["/api/v1/feedback", "/api/v1/services/chat/decide"])
async def test_a_body_that_cannot_be_read_is_a_clear_400(path: str, body: bytes) -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=SERVICE)
        reply = await api.post(path, content=body)
        assert reply.status_code == 400
        assert reply.headers["content-type"] == "application/problem+json"
        problem = reply.json()
        assert problem["status"] == 400
        assert problem["type"].startswith("urn:llm-optimizer:problem:")
        assert problem["detail"]


BAD_SERVICES = [
    ({"baseline": "z"}, "baseline"),
    ({"variants": []}, "variants"),
    ({"variants": [{"name": "a"}, {"name": "a"}]}, "variants"),
    ({"variants": [{"name": f"v{i}"} for i in range(65)]}, "variants"),
    ({"holdout": 0.9}, "holdout"),
    ({"holdout": "much"}, "holdout"),
    ({"mode": "guess"}, "mode"),
    ({"lease_s": 0}, "lease_s"),
    ({"segment_by": ["a", "a"]}, "segment_by"),
    ({"objective": {"goal": "world peace"}}, "objective.goal"),
    ({"objective": {"goal": "weighted"}}, "objective.weights"),
    ({"objective": {"goal": "minimize_cost", "constraints": [{"metric": "quality"}]}}, "objective.constraints.0"),
    (
        {"objective": {"goal": "minimize_cost", "constraints": [{"metric": "quality", "min": 0.5, "max": 1}]}},
        "objective.constraints.0",
    ),
    ({"surprise": 1}, "surprise"),
]


@pytest.mark.parametrize(("change", "field"), BAD_SERVICES, ids=lambda v: str(v)[:50])
async def test_a_declaration_that_contradicts_itself_is_refused_by_field(change: dict[str, object], field: str) -> None:
    async with open_door() as door, door.client() as api:
        reply = await api.put("/api/v1/services/chat", json={**SERVICE, **change})
        assert reply.status_code == 400
        assert field in {e["field"] for e in reply.json()["errors"]}
        assert (await api.get("/api/v1/services/chat")).status_code == 404


@pytest.mark.parametrize("name", ["-x", "a b", "ü", "x" * 129, "a%2Fb", "%00"])
async def test_a_service_needs_a_plain_name(name: str) -> None:
    async with open_door() as door, door.client() as api:
        reply = await api.put(f"/api/v1/services/{name}", json=SERVICE)
        assert reply.status_code in (400, 404)


async def test_unknown_things_are_404_and_wrong_methods_405() -> None:
    async with open_door() as door, door.client() as api:
        for method, path, status in [
            ("GET", "/api/v1/services/nobody", 404),
            ("POST", "/api/v1/services/nobody/decide", 404),
            ("GET", "/api/v1/services/nobody/report", 404),
            ("DELETE", "/api/v1/services/nobody", 404),
            ("GET", "/nothing", 404),
            ("GET", "/api/v1/feedback", 405),
        ]:
            reply = await api.request(method, path, json={} if method == "POST" else None)
            assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json"), path


async def test_access_is_denied_by_default() -> None:
    async with open_door() as door, door.client("") as nobody, door.client("reader") as reader:
        assert (await nobody.get("/health/live")).status_code == 200
        for method, path in [("PUT", "/api/v1/services/x"), ("POST", "/api/v1/feedback"), ("GET", "/api/v1/services")]:
            reply = await nobody.request(method, path, json=SERVICE)
            assert reply.status_code == 401
            assert reply.headers["www-authenticate"].startswith("Bearer")
        assert (await reader.get("/api/v1/services")).status_code == 200
        assert (await reader.put("/api/v1/services/x", json=SERVICE)).status_code == 403
        assert (await reader.post("/api/v1/feedback", json={"events": []})).status_code == 403


async def test_health_is_the_boards() -> None:
    async with open_door() as door, door.client("") as api:
        assert (await api.get("/health")).json()["status"] == "healthy"
        assert (await api.get("/ready")).json()["ready"] is True
        door.board.told = "unhealthy"
        for path, status in [("/health", 503), ("/health/ready", 503), ("/ready", 503), ("/health/live", 200)]:
            assert (await api.get(path)).status_code == status


async def test_a_batch_of_ten_thousand_is_taken_and_one_more_is_refused() -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=SERVICE)
        events = [{**EVENT, "event_id": f"e{i}"} for i in range(10_000)]
        assert (await api.post("/api/v1/feedback", json={"events": events})).json()["accepted"] == 10_000
        reply = await api.post("/api/v1/feedback", json={"events": [*events, EVENT]})
        assert reply.status_code == 400
        assert "10000" in reply.json()["detail"]


async def test_a_body_over_the_limit_is_413_and_the_server_goes_on() -> None:
    async with open_door() as door, door.client() as api:
        reply = await api.post("/api/v1/feedback", content=b"x" * (5 << 20))
        assert reply.status_code == 413
        assert (await api.get("/health/live")).status_code == 200


async def test_storage_that_is_away_is_503_with_a_hint() -> None:
    broken = False

    async def fail(moment: str) -> None:
        if broken and moment == "before_append":
            raise StorageUnavailable("no space left on device")

    async with open_door(faults=fail) as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=SERVICE)
        broken = True
        reply = await api.post("/api/v1/feedback", json={"events": [EVENT]})
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert "no space left" in reply.json()["detail"]
        assert (await api.post("/api/v1/services/chat/decide", json={})).status_code == 200
        broken = False
        assert (await api.post("/api/v1/feedback", json={"events": [EVENT]})).json()["accepted"] == 1


async def test_requests_are_counted_by_operation() -> None:
    async with open_door() as door, door.client() as api:
        await api.get("/api/v1/services")
        await api.get("/nowhere")
    assert ("list_services", 200) in door.done
    assert ("unmatched", 404) in door.done


async def test_requests_in_flight_finish_when_the_server_drains() -> None:
    entered, gate = trio.Event(), trio.Event()

    async def hold(moment: str) -> None:
        if moment == "after_append" and entering:
            entered.set()
            await gate.wait()

    entering = False
    async with open_door(faults=hold) as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=SERVICE)
        entering = True
        replies = []

        async def post() -> None:
            replies.append(await api.post("/api/v1/feedback", json={"events": [EVENT]}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post)
            await entered.wait()
            door.leave.set()
            entering = False
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
        assert orjson.loads(replies[0].content)["accepted"] == 1
        with pytest.raises(OSError, match="all attempts to connect"):
            await trio.open_tcp_stream("127.0.0.1", door.port)

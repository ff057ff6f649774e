"""Rollouts through the JSON front door."""

import pytest

from tests.rest_api.conftest import SERVICE, open_door

ROLLOUT = {"candidate": "b", "stages": [50, 100], "stage_min_s": 0, "stage_min_events": 50, "max_events": 850}
FIXED = {**SERVICE, "mode": "fixed", "segment_by": []}


async def test_begin_read_steer_explain() -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=FIXED)
        begun = await api.post("/api/v1/services/chat/rollouts", json=ROLLOUT)
        assert begun.status_code == 201
        rollout = begun.json()
        assert (rollout["status"], rollout["stage"], rollout["share"]) == ("running", 0, 0.5)
        assert "evidence: 0 of 50" in rollout["waiting_for"]
        again = await api.post("/api/v1/services/chat/rollouts", json=ROLLOUT)
        assert again.status_code == 409
        choices = [(await api.post("/api/v1/services/chat/decide", json={"key": f"u{i}"})).json() for i in range(20)]
        assert {c["reason"] for c in choices} == {"fixed", "rollout"}
        assert {c["probability"] for c in choices} == {0.5}
        path = f"/api/v1/rollouts/{rollout['id']}"
        paused = await api.post(f"{path}/pause", json={"reason": "lunch"})
        assert paused.json()["status"] == "paused"
        assert (await api.post(f"{path}/pause", json={})).status_code == 409
        assert (await api.post(f"{path}/explode", json={})).status_code == 404
        assert (await api.post(f"{path}/cancel", json={})).json()["status"] == "cancelled"
        assert "lunch" in " ".join((await api.get(f"{path}/explain")).json()["sentences"])
        listed = (await api.get("/api/v1/rollouts?service=chat")).json()["rollouts"]
        assert [r["id"] for r in listed] == [rollout["id"]]
        assert (await api.get(path)).json()["history"][1]["reason"] == "lunch"


BAD = [
    {"candidate": "z"},
    {"candidate": "a"},
    {"candidate": 7},
    {"stages": []},
    {"stages": [50, 5]},
    {"stages": [0]},
    {"stages": [101]},
    {"alpha": 0},
    {"alpha": "small"},
    {"stage_min_events": 0},
    {"max_events": 1},
    {"timeout_s": -1},
    {"guardrails": [{"metric": "quality"}]},
    {"guardrails": [{"metric": "quality", "max_drop": 0.1, "min": 0.5}]},
    {"surprise": True},
]


@pytest.mark.parametrize("change", BAD, ids=str)
async def test_a_rollout_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=FIXED)
        reply = await api.post("/api/v1/services/chat/rollouts", json={**ROLLOUT, **change})
        assert reply.status_code == 400, reply.text
        assert (await api.get("/api/v1/rollouts")).json()["rollouts"] == []


async def test_rollouts_need_permission_and_a_service() -> None:
    async with open_door() as door, door.client() as api, door.client("reader") as reader:
        assert (await api.post("/api/v1/services/nobody/rollouts", json=ROLLOUT)).status_code == 404
        assert (await api.get("/api/v1/rollouts/nothing")).status_code == 404
        await api.put("/api/v1/services/chat", json=FIXED)
        assert (await reader.post("/api/v1/services/chat/rollouts", json=ROLLOUT)).status_code == 403
        assert (await reader.get("/api/v1/rollouts")).status_code == 200

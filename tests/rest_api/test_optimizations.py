"""Optimizations through the JSON front door: the contract's routes 4 to 8, and what stands beside them."""

import pytest

from tests.rest_api.conftest import SERVICE, open_door

FIXED = {**SERVICE, "mode": "fixed", "segment_by": []}
WANTED = {"target_services": ["chat"], "strategy": "a_b_testing", "config": {"temperature": 0.2, "model": "m1"}}


async def test_create_list_deploy_roll_back_explain() -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=FIXED)
        made = await api.post("/api/v1/optimize", json=WANTED)
        assert made.status_code == 201
        body = made.json()
        assert (body["strategy"], body["status"]) == ("a_b_testing", "pending")
        assert body["changes"][1] == {
            "parameter": "temperature", "old_value": "", "new_value": "0.2", "change_type": "add",
        }  # fmt: skip
        path = f"/api/v1/optimize/{body['id']}"
        assert (await api.get(path)).json() == body
        outcome = (await api.post(f"{path}/validate", json={"dry_run": True})).json()
        assert outcome["valid"]
        deployed = await api.post(f"{path}/deploy", json={"rollout_percentage": 20})
        assert deployed.status_code == 200
        assert deployed.json()["status"] == "monitoring"
        rollout = (await api.get(f"/api/v1/rollouts/{deployed.json()['rollouts']['chat']}")).json()
        assert rollout["spec"]["stages"] == [20, 25, 50, 100]
        assert (await api.post(f"{path}/deploy", json={})).status_code == 409
        assert (await api.post(f"{path}/rollback", json={"reason": ""})).status_code == 400
        back = (await api.post(f"{path}/rollback", json={"reason": "no"})).json()
        assert back["status"] == "rolled_back"
        assert back["rolled_back_at"]
        told = (await api.get(f"/api/v1/optimizations/{body['id']}/explain")).json()
        assert "rolled_back" in told["explanation"]
        assert (await api.get("/api/v1/optimize/nobody")).status_code == 404


async def test_lists_are_filtered_and_paged() -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=FIXED)
        ids = [(await api.post("/api/v1/optimize", json=WANTED)).json()["id"] for _ in range(3)]
        await api.post(f"/api/v1/optimize/{ids[0]}/cancel", json={})
        found = (await api.get("/api/v1/optimize?page_size=2")).json()
        assert (found["total"], found["page"], found["page_size"], found["total_pages"]) == (3, 1, 2, 2)
        assert len(found["items"]) == 2
        found = (await api.get("/api/v1/optimize?status=cancelled&strategy=ab_testing&service=chat")).json()
        assert [item["id"] for item in found["items"]] == [ids[0]]
        assert (await api.get("/api/v1/optimize?from=2100-01-01")).json()["total"] == 0
        for wrong in ("status=odd", "strategy=odd", "page=-1", "page=x", "from=yesterday"):
            assert (await api.get(f"/api/v1/optimize?{wrong}")).status_code == 400, wrong


BAD = [
    {"target_services": []},
    {"strategy": "magic"},
    {"config": [1]},
    {"constraints": [{"constraint_type": "", "value": 1}]},
    {"surprise": 1},
]


@pytest.mark.parametrize("change", BAD, ids=str)
async def test_what_cannot_be_is_refused(change: dict[str, object]) -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=FIXED)
        assert (await api.post("/api/v1/optimize", json={**WANTED, **change})).status_code == 400
        unknown = await api.post("/api/v1/optimize", json={**WANTED, "target_services": ["nobody"]})
        assert unknown.status_code == 404


async def test_without_a_config_the_evidence_suggests_or_says_why_not() -> None:
    async with open_door() as door, door.client() as api:
        await api.put("/api/v1/services/chat", json=FIXED)
        reply = await api.post("/api/v1/optimize", json={"target_services": ["chat"], "strategy": "hybrid"})
        assert reply.status_code == 409
        assert "recorded calls" in reply.json()["detail"]
        dry = await api.post("/api/v1/optimize", json={**WANTED, "dry_run": True})
        assert dry.status_code == 200
        assert (await api.get("/api/v1/optimize")).json()["total"] == 0


async def test_a_reader_may_look_and_not_touch() -> None:
    async with open_door() as door, door.client() as admin, door.client("reader") as api:
        await admin.put("/api/v1/services/chat", json=FIXED)
        made = (await admin.post("/api/v1/optimize", json=WANTED)).json()["id"]
        assert (await api.get(f"/api/v1/optimize/{made}")).status_code == 200
        assert (await api.post("/api/v1/optimize", json=WANTED)).status_code == 403
        assert (await api.post(f"/api/v1/optimize/{made}/deploy", json={})).status_code == 403

"""Windows over a service's calls through the JSON front door."""

from tests.rest_api.conftest import SERVICE, open_door

MINUTES = [f"2026-05-01T00:{minute:02d}:00Z" for minute in range(0, 20, 2)]


async def test_the_windows_of_a_service() -> None:
    async with open_door() as door, door.client() as api:
        assert (await api.get("/api/v1/services/chat/windows")).status_code == 404
        await api.put("/api/v1/services/chat", json=SERVICE)
        assert (await api.get("/api/v1/services/chat/windows")).json()["windows"] == []
        events = [
            {"event_id": f"e{i}", "occurred_at": at, "service": "chat", "variant": "a", "latency_ms": 100.0 * (i + 1)}
            for i, at in enumerate(MINUTES)
        ]
        events[0]["error_type"] = "timeout"
        receipt = await api.post("/api/v1/feedback", json={"events": events})
        assert receipt.json()["accepted"] == len(events)
        told = (await api.get("/api/v1/services/chat/windows")).json()
        assert [(w["start"][11:16], w["end"][11:16], w["calls"], w["final"]) for w in told["windows"]] == [
            ("00:00", "00:05", 3, True),
            ("00:05", "00:10", 2, True),
            ("00:10", "00:15", 3, True),
            ("00:15", "00:20", 2, False),
        ]
        first = told["windows"][0]
        assert (first["error_rate"], first["revision"], told["late"], told["dropped"]) == (1 / 3, 0, 0, 0)
        assert set(first["metrics"]) == {"latency_ms"}
        latency = first["metrics"]["latency_ms"]
        assert (latency["count"], latency["mean"], latency["maximum"]) == (2, 250.0, 300.0)
        part = {"from": "2026-05-01T00:05:00Z", "to": "2026-05-01T00:11:00Z"}
        assert (await api.get("/api/v1/services/chat/windows", params=part)).json()["windows"] == told["windows"][1:3]
        assert (await api.get("/api/v1/services/chat/windows?from=soon")).status_code == 400

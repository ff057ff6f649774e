"""Metric series and alerts through the JSON front door."""

import pytest

from tests.rest_api.conftest import open_door


def point(i: int, value: float) -> dict[str, object]:
    """One point of a series, five minutes after the one before."""
    return {
        "name": "queue",
        "value": value,
        "timestamp": f"2014-04-{1 + i // 288:02d}T{i // 12 % 24:02d}:{i % 12 * 5:02d}:00Z",
    }


async def test_a_series_is_judged_and_its_alerts_are_told() -> None:
    async with open_door() as door, door.client() as api:
        assert (await api.get("/api/v1/metrics/queue/status")).json()["samples"] == 0
        points = [point(i, 5.0 + (i * 7919 % 13) / 13 + (100.0 if i >= 2000 else 0.0)) for i in range(2020)]
        for start in range(0, len(points), 500):
            receipt = await api.post("/api/v1/metrics", json={"metrics": points[start : start + 500]})
            assert receipt.json()["rejected"] == []
        while (await api.get("/api/v1/metrics/queue/status")).json()["samples"] < len(points):
            pass
        alerts = (await api.get("/api/v1/alerts?metric=queue")).json()["alerts"]
        stamps = {p["timestamp"].removesuffix("Z") + "+00:00" for p in points if isinstance(p["timestamp"], str)}
        assert alerts
        assert {a["timestamp"] for a in alerts} <= stamps
        newest = alerts[0]["timestamp"]
        since = (await api.get("/api/v1/alerts", params={"metric": "queue", "since": newest})).json()["alerts"]
        assert since == [a for a in alerts if a["timestamp"] == newest]
        assert (await api.get("/api/v1/alerts?service=nobody")).json()["alerts"] == []


BAD = [
    {"value": "1"},
    {"value": None},
    {"name": ""},
    {"name": "a b"},
    {"timestamp": "soon"},
    {"tags": [1]},
    {"more": 1},
]


@pytest.mark.parametrize("change", BAD, ids=str)
async def test_a_bad_point_is_refused_by_index(change: dict[str, object]) -> None:
    async with open_door() as door, door.client() as api:
        receipt = await api.post("/api/v1/metrics", json={"metrics": [point(0, 1.0), {**point(1, 1.0), **change}]})
        assert receipt.json()["accepted"] == 1
        assert receipt.json()["rejected"][0]["index"] == 1


async def test_since_is_a_time() -> None:
    async with open_door() as door, door.client() as api:
        assert (await api.get("/api/v1/alerts?since=yesterday")).status_code == 400

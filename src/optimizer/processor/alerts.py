"""Alerts: kept in order of event time, the newest `KEPT` of them, and told when raised."""

import msgspec

from optimizer.bus import Topic
from optimizer.model import Alert
from optimizer.storage import Delete, Put, Store

PREFIX = "alerts/"
KEPT = 10_000
TRIMMED = 100  # alerts beyond `KEPT` that may gather before the oldest are removed

_decode = msgspec.json.Decoder(Alert).decode


class Alerts:
    """Raise and look up alerts. An alert with an id that was raised before at the same time replaces it."""

    def __init__(self, store: Store, topic: Topic[Alert]) -> None:
        self._store = store
        self._topic = topic
        self._since_trim = TRIMMED

    async def raise_alert(self, alert: Alert) -> None:
        """Keep the alert, then tell it."""
        await self._store.commit([Put(key=_key(alert), body=msgspec.json.encode(alert))])
        await self._topic.publish(alert)
        self._since_trim += 1
        if self._since_trim >= TRIMMED:
            self._since_trim = 0
            await self._trim()

    async def select(
        self, *, service: str | None = None, metric: str | None = None, since: int | None = None, limit: int = 100
    ) -> list[Alert]:
        """The newest alerts that pass every filter that is not None, newest first; `since` is inclusive."""
        found: list[Alert] = []
        after = "" if since is None else f"{PREFIX}{max(since, 0) - 1:020}/~"
        while page := await self._store.scan(PREFIX, after=after):
            alerts = (_decode(document.body) for document in page)
            found += [a for a in alerts if service in (None, a.service) and metric in (None, a.metric)]
            after = page[-1].key
        return found[-limit:][::-1] if limit > 0 else []

    async def _trim(self) -> None:
        keys: list[str] = []
        after = ""
        while page := await self._store.scan(PREFIX, after=after):
            keys += [document.key for document in page]
            after = page[-1].key
        if len(keys) > KEPT:
            await self._store.commit([Delete(key=key) for key in keys[:-KEPT]])


def _key(alert: Alert) -> str:
    return f"{PREFIX}{max(alert.at, 0):020}/{alert.alert_id}"

"""Feature flags: named switches, durable, with a notice at every change."""

import re
from collections.abc import Callable

import msgspec

from optimizer.bus import Topic
from optimizer.model import Conflict, InvalidArgument, ResourceExhausted, SystemNotice
from optimizer.storage import ABSENT, Put, Store

PREFIX = "flags/"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}")
FLAGS = 1_000
ATTEMPTS = 8


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """A switch. Times are microseconds since 1970 UTC."""

    name: str
    enabled: bool
    description: str = ""
    metadata: dict[str, str] = {}
    created_at: int = 0
    updated_at: int = 0
    updated_by: str = ""


_decode = msgspec.json.Decoder(Flag).decode


class Flags:
    """All flags. A change is durable when `set` returns."""

    def __init__(self, store: Store, system: Topic[SystemNotice], now: Callable[[], int]) -> None:
        self._store = store
        self._system = system
        self._now = now

    async def list(self) -> list[Flag]:
        """Every flag, by name."""
        return [_decode(document.body) for document in await self._store.scan(PREFIX, limit=FLAGS)]

    async def enabled(self, name: str) -> bool:
        """Whether the flag is on; one that was never set is off."""
        document = await self._store.get(PREFIX + _checked(name))
        return document is not None and _decode(document.body).enabled

    async def set(self, name: str, enabled: bool, *, by: str) -> Flag:
        """Create or change a flag. Raises InvalidArgument, ResourceExhausted, Conflict."""
        key = PREFIX + _checked(name)
        for attempt in range(ATTEMPTS):
            now = self._now()
            document = await self._store.get(key)
            if document is None:
                if len(await self._store.scan(PREFIX, limit=FLAGS)) >= FLAGS:
                    raise ResourceExhausted(f"there are {FLAGS} flags already", retry_after_s=3600)
                flag = Flag(name=name, enabled=enabled, created_at=now, updated_at=now, updated_by=by)
            else:
                flag = msgspec.structs.replace(_decode(document.body), enabled=enabled, updated_at=now, updated_by=by)
            expected = ABSENT if document is None else document.version
            try:
                await self._store.commit([Put(key=key, body=msgspec.json.encode(flag), expected=expected)])
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
                continue
            await self._system.publish(_notice(flag))
            return flag
        raise AssertionError("the last attempt returns or raises")


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InvalidArgument("a flag's name has 1 to 128 letters, digits and '_.:-'", field="name")
    return name


def _notice(flag: Flag) -> SystemNotice:
    said = "on" if flag.enabled else "off"
    return SystemNotice(
        event_type="feature_flag.changed",
        severity="info",
        message=f"feature flag {flag.name} is {said}",
        at=flag.updated_at,
        metadata={"flag": flag.name, "enabled": said, "by": flag.updated_by},
    )

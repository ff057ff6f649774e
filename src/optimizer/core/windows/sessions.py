"""Session windows in event time: a key's events that follow one another closely, merged in whatever order they come."""

from collections.abc import Mapping

import msgspec

from optimizer.core.windows.aggregate import AggregateState, Tally
from optimizer.core.windows.values import LATENESS, MAX_KEYS, Fired, LateEvent, Lateness, Reason, Sessions, WindowResult
from optimizer.core.windows.watermark import NEVER

MAX_SESSIONS = 64
"""Sessions kept for one key; a minute of lateness and gaps of seconds need far fewer. A key with more fires early."""

Extent = tuple[int, int]


class SessionSaved(msgspec.Struct, array_like=True):
    """One session as plain values."""

    start: int
    end: int
    fired: Extent | None
    revision: int
    void: tuple[Extent, ...]
    fresh: bool
    tally: tuple[int, dict[str, AggregateState]]


class KeySaved(msgspec.Struct, array_like=True):
    """One key's sessions in order."""

    part: int
    sessions: list[SessionSaved]


class SessionsState(msgspec.Struct, array_like=True):
    """Everything that `SessionWindows` knows, as plain values."""

    watermark: int = NEVER
    parts: int = 0
    late: int = 0
    dropped: int = 0
    evicted: int = 0
    keys: dict[str, KeySaved] = {}


class _Session:
    """A session [start, end): its last event was one gap before `end`.

    `fired` is the extent it last fired with, `void` are those of others that have joined it and await their
    replacement, `fresh` says that something came since it last fired.
    """

    __slots__ = ("end", "fired", "fresh", "revision", "start", "tally", "void")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.fired: Extent | None = None
        self.revision = -1
        self.void: tuple[Extent, ...] = ()
        self.fresh = True
        self.tally = Tally()

    def saved(self) -> SessionSaved:
        return SessionSaved(self.start, self.end, self.fired, self.revision, self.void, self.fresh, self.tally.state())

    @classmethod
    def restore(cls, saved: SessionSaved) -> "_Session":
        made = cls(saved.start, saved.end)
        made.fired, made.revision, made.void, made.fresh = saved.fired, saved.revision, saved.void, saved.fresh
        made.tally = Tally.restore(saved.tally)
        return made


class _Key:
    __slots__ = ("part", "sessions")

    def __init__(self, part: int) -> None:
        self.part = part
        self.sessions: list[_Session] = []


class SessionWindows:
    """Keyed sessions. Plain memory, no clock: the watermark is an argument. Counters as in `SlicedWindows`."""

    def __init__(self, spec: Sessions, lateness: Lateness = LATENESS, *, max_keys: int = MAX_KEYS) -> None:
        self._spec = spec
        self._lateness = lateness
        self._max_keys = max_keys
        self._keys: dict[str, _Key] = {}
        self._parts = 0
        self.watermark = NEVER
        self.late = 0
        self.dropped = 0
        self.evicted = 0

    def add(self, key: str, time: int, values: Mapping[str, float | None]) -> list[Fired]:
        """Count one event; what it makes fire at once (late updates, hand-backs, an evicted key), usually nothing."""
        start, end = time, time + self._spec.gap
        known = self._keys.get(key)
        touched = [] if known is None else [s for s in known.sessions if s.start < end and start < s.end]
        end = max([end, *(s.end for s in touched)])
        if end <= self.watermark:
            self.late += 1
            if self._lateness.policy == "side":
                return [LateEvent(key=key, time=time, values=dict(values))]
            if self._lateness.policy == "drop" or end + self._lateness.allowed <= self.watermark:
                self.dropped += 1
                return []
        out: list[Fired] = []
        state = self._use(key, out)
        if len(state.sessions) >= MAX_SESSIONS and not touched:
            out += self._evict(key)
            state = self._keys[key] = _Key(self._parts)
        session = _joined(touched, start, end)
        session.tally.add(values)
        state.sessions = sorted([s for s in state.sessions if s not in touched] + [session], key=lambda s: s.start)
        if end <= self.watermark:
            out.append(_fire(key, state.part, session, "late"))
        return out

    def advance(self, watermark: int) -> list[Fired]:
        """Fire every key's sessions that end by the watermark, in order of end, and forget those past lateness."""
        self.watermark = max(self.watermark, watermark)
        due = [
            (session.end, key, session)
            for key, state in self._keys.items()
            for session in state.sessions
            if session.fresh and session.end <= self.watermark
        ]
        due.sort(key=lambda item: item[:2])
        out: list[Fired] = [_fire(key, self._keys[key].part, session, "on_time") for _, key, session in due]
        over = self.watermark - (self._lateness.allowed if self._lateness.policy == "update" else 0)
        for key in list(self._keys):
            state = self._keys[key]
            state.sessions = [session for session in state.sessions if session.end > over]
            if not state.sessions:
                del self._keys[key]
        return out

    def flush(self) -> list[Fired]:
        """Fire everything still open and forget it: the stream has ended."""
        out = [
            _fire(key, state.part, session, "flushed")
            for key, state in self._keys.items()
            for session in state.sessions
            if session.fresh
        ]
        self._keys.clear()
        self._parts += 1
        return [*out]

    def _use(self, key: str, out: list[Fired]) -> _Key:
        """The key's state, made last in the order; an overflowing key fires on the way out."""
        state = self._keys.pop(key, None)
        if state is None:
            if len(self._keys) >= self._max_keys:
                out += self._evict(next(iter(self._keys)))
            state = _Key(self._parts)
        self._keys[key] = state
        return state

    def _evict(self, key: str) -> list[WindowResult]:
        """Take a key out: what has not fired fires, and later events of the key are other parts."""
        state = self._keys.pop(key)
        self.evicted += 1
        self._parts += 1
        return [_fire(key, state.part, session, "evicted") for session in state.sessions if session.fresh]

    def state(self) -> SessionsState:
        """Everything, as plain values that msgspec encodes."""
        keys = {key: KeySaved(k.part, [session.saved() for session in k.sessions]) for key, k in self._keys.items()}
        return SessionsState(self.watermark, self._parts, self.late, self.dropped, self.evicted, keys)

    def restore(self, state: SessionsState) -> None:
        """Go on where the windows whose `state()` this is stood; settings stay those of the constructor."""
        self.watermark, self._parts = state.watermark, state.parts
        self.late, self.dropped, self.evicted = state.late, state.dropped, state.evicted
        self._keys = {}
        for name, saved in state.keys.items():
            key = self._keys[name] = _Key(saved.part)
            key.sessions = [_Session.restore(session) for session in saved.sessions]


def _joined(touched: list[_Session], start: int, end: int) -> _Session:
    """One session in place of those that an event touches."""
    if not touched:
        return _Session(start, end)
    session, *others = touched
    session.start, session.end, session.fresh = min(start, session.start), end, True
    for other in others:
        session.tally.merge(other.tally)
        session.revision = max(session.revision, other.revision)
        session.void += other.void
        if other.fired is not None:
            session.void += (other.fired,)
    return session


def _fire(key: str, part: int, session: _Session, reason: Reason) -> WindowResult:
    """The session's result, which replaces those of every session that has joined it."""
    extent = (session.start, session.end)
    replaces = tuple(sorted({*session.void, *([session.fired] if session.fired else [])} - {extent}))
    session.fired, session.void, session.fresh = extent, (), False
    session.revision += 1
    return WindowResult(
        key=key,
        start=session.start,
        end=session.end,
        part=part,
        revision=session.revision,
        reason=reason,
        events=session.tally.events,
        metrics=session.tally.summaries(),
        replaces=replaces,
    )

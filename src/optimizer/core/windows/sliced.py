"""Tumbling and sliding windows in event time, for many keys, from slices that every window shares.

An event is added to one slice, however many windows overlap it; a window is merged from its slices when the watermark
passes its end (Li, Maier, Tufte, Papadimos, Tucker, "No pane, no gain", SIGMOD Record 34(1), 2005).
"""

from collections.abc import Mapping

import msgspec

from optimizer.core.windows.aggregate import AggregateState, Tally
from optimizer.core.windows.values import LATENESS, MAX_KEYS, Fired, LateEvent, Lateness, Reason, Sliding, WindowResult
from optimizer.core.windows.watermark import NEVER


class KeyState(msgspec.Struct, array_like=True):
    """One key's slices by their start, and how often each window fired again."""

    part: int
    slices: dict[int, tuple[int, dict[str, AggregateState]]]
    revisions: dict[int, int]


class SlicedState(msgspec.Struct, array_like=True):
    """Everything that `SlicedWindows` knows, as plain values."""

    watermark: int = NEVER
    parts: int = 0
    late: int = 0
    dropped: int = 0
    evicted: int = 0
    keys: dict[str, KeyState] = {}


class _Key:
    """The live form of `KeyState`."""

    __slots__ = ("part", "revisions", "slices")

    def __init__(self, part: int) -> None:
        self.part = part
        self.slices: dict[int, Tally] = {}
        self.revisions: dict[int, int] = {}


class SlicedWindows:
    """Keyed tumbling or sliding windows. Plain memory, no clock: the watermark is an argument.

    Counters: `late` events came after a window of theirs had fired, `dropped` ones of them changed no result,
    `evicted` keys were fired early for lack of room.
    """

    def __init__(self, spec: Sliding, lateness: Lateness = LATENESS, *, max_keys: int = MAX_KEYS) -> None:
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
        ends = self._spec.ends(time)
        fired = [end for end in ends if end <= self.watermark]
        open_still = len(fired) < len(ends)
        out: list[Fired] = []
        updates: list[int] = []
        if fired:
            self.late += 1
            if self._lateness.policy == "update":
                updates = [end for end in fired if end + self._lateness.allowed > self.watermark]
            elif self._lateness.policy == "side":
                out.append(LateEvent(key=key, time=time, values=dict(values)))
            if not open_still and not updates:
                self.dropped += self._lateness.policy != "side"
                return out
        state = self._use(key, out)
        start = time - time % self._spec.slice
        tally = state.slices.get(start)
        if tally is None:
            tally = state.slices[start] = Tally()
        tally.add(values)
        for end in updates:
            state.revisions[end] = state.revisions.get(end, 0) + 1
            out.append(self._result(key, state, end, "late"))
        return out

    def advance(self, watermark: int) -> list[Fired]:
        """Fire every key's windows that end by the watermark, in order of end, and forget what no event can change."""
        old, self.watermark = self.watermark, max(self.watermark, watermark)
        if self._boundary(old) == self._boundary(self.watermark) or not self._keys:
            return []
        due = [
            (end, key, state)
            for key, state in self._keys.items()
            for end in self._ends_of(state)
            if old < end <= self.watermark
        ]
        due.sort(key=lambda item: item[:2])
        out: list[Fired] = [self._result(key, state, end, "on_time") for end, key, state in due]
        self._clean()
        return out

    def flush(self) -> list[Fired]:
        """Fire everything still open and forget it: the stream has ended."""
        out = [fired for key, state in self._keys.items() for fired in self._parts_of(key, state, "flushed")]
        self._keys.clear()
        self._parts += 1
        return out

    def open_windows(self) -> list[WindowResult]:
        """What windows that have not fired hold so far, in order of end; nothing changes by asking."""
        due = [(end, key) for key, state in self._keys.items() for end in self._ends_of(state) if end > self.watermark]
        return [self._result(key, self._keys[key], end, "open") for end, key in sorted(due)]

    def next_end(self) -> int | None:
        """The end of the window that fires next, None when nothing is open."""
        ends = (end for state in self._keys.values() for start in state.slices for end in self._spec.ends(start))
        return min((end for end in ends if end > self.watermark), default=None)

    def _boundary(self, watermark: int) -> int:
        return (watermark - self._spec.size) // self._spec.slide

    def _ends_of(self, state: _Key) -> list[int]:
        return sorted({end for start in state.slices for end in self._spec.ends(start)})

    def _use(self, key: str, out: list[Fired]) -> _Key:
        """The key's state, made last in the order; an overflowing key fires on the way out."""
        state = self._keys.pop(key, None)
        if state is None:
            state = _Key(self._parts)
            if len(self._keys) >= self._max_keys:
                oldest = next(iter(self._keys))
                out += self._parts_of(oldest, self._keys.pop(oldest), "evicted")
                self.evicted += 1
                self._parts += 1
        self._keys[key] = state
        return state

    def _parts_of(self, key: str, state: _Key, reason: Reason) -> list[Fired]:
        """What the key's windows that have not fired hold."""
        return [self._result(key, state, end, reason) for end in self._ends_of(state) if end > self.watermark]

    def _result(self, key: str, state: _Key, end: int, reason: Reason) -> WindowResult:
        start = end - self._spec.size
        total = Tally()
        for at in range(start, end, self._spec.slice):
            found = state.slices.get(at)
            if found is not None:
                total.merge(found)
        return WindowResult(
            key=key,
            start=start,
            end=end,
            part=state.part,
            revision=state.revisions.get(end, 0),
            reason=reason,
            events=total.events,
            metrics=total.summaries(),
        )

    def _clean(self) -> None:
        """Forget slices whose last window is beyond its lateness, and keys without slices."""
        over = self.watermark - (self._lateness.allowed if self._lateness.policy == "update" else 0)
        for key in list(self._keys):
            state = self._keys[key]
            for start in [start for start in state.slices if self._spec.ends(start)[-1] <= over]:
                del state.slices[start]
            for end in [end for end in state.revisions if end <= over]:
                del state.revisions[end]
            if not state.slices:
                del self._keys[key]

    def state(self) -> SlicedState:
        """Everything, as plain values that msgspec encodes."""
        keys = {
            key: KeyState(state.part, {start: tally.state() for start, tally in state.slices.items()}, state.revisions)
            for key, state in self._keys.items()
        }
        return SlicedState(self.watermark, self._parts, self.late, self.dropped, self.evicted, keys)

    def restore(self, state: SlicedState) -> None:
        """Go on where the windows whose `state()` this is stood; settings stay those of the constructor."""
        self.watermark, self._parts = state.watermark, state.parts
        self.late, self.dropped, self.evicted = state.late, state.dropped, state.evicted
        self._keys = {}
        for name, saved in state.keys.items():
            key = self._keys[name] = _Key(saved.part)
            key.slices = {start: Tally.restore(tally) for start, tally in saved.slices.items()}
            key.revisions = dict(saved.revisions)

"""The history as a whole: a fold over the log beside the decision's own, and its snapshots."""

from collections.abc import Iterable, Iterator

import msgspec

from optimizer.core import records
from optimizer.core.history.calls import CallHistory, Kind
from optimizer.core.history.catalog import Catalog
from optimizer.core.history.periods import Period
from optimizer.core.history.series import Series, SeriesHistory, Sums, Tags
from optimizer.core.history.tally import Tally, TallyState

PERIODS = "history/calls/"
SERIES = "history/series/"
NEWEST = "history/newest"
CATALOG = "history/catalog"


class _Series(msgspec.Struct, frozen=True, array_like=True):
    name: str
    tags: Tags
    unit: str | None
    count: int
    points: list[tuple[int, float]]
    older: list[tuple[int, int, Sums]]


_kinds = msgspec.msgpack.Decoder(list[tuple[tuple[str, str, str, str], TallyState]])
_series = msgspec.msgpack.Decoder(_Series)
_catalog = msgspec.msgpack.Decoder(dict[str, list[tuple[int, tuple[str, ...]]]])
_encode = msgspec.msgpack.Encoder().encode


class History:
    """What was called and recorded, by time. A function of the log up to `cursor`."""

    def __init__(self, cursor: int = 0) -> None:
        self.cursor = cursor
        self.calls = CallHistory()
        self.series = SeriesHistory()
        self.catalog = Catalog()

    def apply(self, offset: int, kind: str, key: str, payload: bytes) -> None:
        """Fold one record of the log. `key` is the service of a score."""
        self.cursor = offset
        if kind == records.FEEDBACK:
            event = records.decode_feedback(payload)
            self.calls.add(event, self.catalog.variant_of(event))
        elif kind == records.POLICY:
            self.catalog.add(records.decode_policy(payload))
        elif kind == records.METRIC:
            self.series.add(records.decode_metric(payload))
        elif kind == records.SCORE:
            score = records.decode_score(payload)
            self.calls.score(score.occurred_at, key, score.name, score.value)

    def changed(self) -> Iterator[tuple[str, bytes | None]]:
        """The documents (key, body; None: gone) that differ from the last snapshot; `settle` once they are kept."""
        self.calls.tidy()
        yield NEWEST, str(self.calls.newest).encode()
        if self.catalog.dirty:
            yield CATALOG, _encode(self.catalog.known)
        for period in self.calls.dirty:
            kinds = self.calls.periods.get(period)
            body = None if kinds is None else _encode([(tuple(kind), tally.state()) for kind, tally in kinds.items()])
            yield f"{PERIODS}{period.length}/{period.start}", body
        for key in self.series.dirty:
            series = self.series.series[key]
            series.tidy()
            older = [(period.start, period.length, sums) for period, sums in sorted(series.older.items())]
            kept = _Series(series.name, series.tags, series.unit, series.count, series.points, older)
            yield SERIES + records.idempotency_key("h", series.name, repr(series.tags)).hex(), _encode(kept)

    def settle(self) -> None:
        """Everything that `changed` gave is kept, and nothing was folded since."""
        self.calls.dirty.clear()
        self.series.dirty.clear()
        self.catalog.dirty = False

    def unsaved(self) -> int:
        """How many tallies and series `changed` would write, about."""
        return sum(len(self.calls.periods.get(period, ())) for period in self.calls.dirty) + len(self.series.dirty)


def restore_history(cursor: int, documents: Iterable[tuple[str, bytes]]) -> History:
    """The history whose documents these are, as of log offset `cursor`."""
    history = History(cursor)
    for key, body in documents:
        if key.startswith(PERIODS):
            length, start = key.removeprefix(PERIODS).split("/")
            period = Period(int(start), int(length))
            history.calls.restore(period, {Kind(*kind): Tally.restore(state) for kind, state in _kinds.decode(body)})
        elif key == CATALOG:
            history.catalog.known = _catalog.decode(body)
        elif key == NEWEST:
            history.calls.newest = int(body)
        elif key.startswith(SERIES):
            kept = _series.decode(body)
            older = {Period(start, length): sums for start, length, sums in kept.older}
            series = Series(kept.name, kept.tags, kept.unit, kept.count, kept.points, older)
            history.series.series[kept.name, kept.tags] = series
    return history

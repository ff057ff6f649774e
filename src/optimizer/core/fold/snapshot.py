"""State to documents and back. A snapshot and the log after its cursor give the same state as the whole log."""

from collections.abc import Iterable, Iterator
from decimal import Decimal

import msgspec

from optimizer.core.fold.calls import Call, Orphans
from optimizer.core.fold.cell import Cell
from optimizer.core.fold.rollouts import Rollouts
from optimizer.core.fold.service import ServiceState
from optimizer.core.fold.state import Changes, State
from optimizer.core.learning import Evidence
from optimizer.core.ledger import Account
from optimizer.core.rollout import Rollout
from optimizer.core.sketch import QuantileSketch, SketchState
from optimizer.model import Policy, Score, Service, Split

SERVICES = "fold/service/"
SEGMENTS = "fold/segment/"
CALLS = "fold/call/"
POLICIES = "fold/policy/"
ROLLOUTS = "fold/rollout/"
LEDGER = "fold/ledger/"
ORPHANS = "fold/orphans"


class CellImage(msgspec.Struct, frozen=True, array_like=True):
    """A cell as stored."""

    variant: str
    calls: int
    errors: int
    tokens: list[int]
    tokens_known: list[int]
    cost_usd: Decimal
    cost_known: int
    quality_known: int
    quality_sum: float
    quality_squares: float
    latency: SketchState
    ttft: SketchState
    evidence: tuple[object, ...]


class ServiceImage(msgspec.Struct, frozen=True, array_like=True):
    """A service without its cells, as stored."""

    declaration: Service
    revision: int
    segments: list[str]
    events: int
    since_policy: int
    policy: Policy | None
    catalog: list[tuple[int, tuple[str, ...]]]
    assigned: dict[str, int]
    scores: list[tuple[str, str, str, int, float]]
    last_event_at: int | None
    splits: list[tuple[int, Split | None]] = []


class OrphansImage(msgspec.Struct, frozen=True, array_like=True):
    """The waiting scores, as stored."""

    waiting: list[tuple[str, Score]]
    dropped: int
    undeclared: int


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_service = msgspec.msgpack.Decoder(ServiceImage)
_segment = msgspec.msgpack.Decoder(list[CellImage])
_orphans = msgspec.msgpack.Decoder(OrphansImage)
_ledger = msgspec.msgpack.Decoder(list[Account])
_rollout = msgspec.msgpack.Decoder(Rollout)
_call = msgspec.msgpack.Decoder(Call)

decode_call = _call.decode
decode_rollout = _rollout.decode


def policy_key(service: str, version: int) -> str:
    """The document that says where in the log a policy version is."""
    return f"{POLICIES}{service}/{version:012d}"


def documents(state: State, changes: Changes) -> Iterator[tuple[str, bytes | None]]:
    """Key and body of every document that the changes touch; None as body: the document goes."""
    for name in sorted(changes.services):
        service = state.services.get(name)
        yield SERVICES + name, None if service is None else _encode(_service_image(service))
    for name, segment in sorted(changes.segments):
        service = state.services.get(name)
        cells = [] if service is None else [_cell_image(v, c) for (s, v), c in service.cells.items() if s == segment]
        yield f"{SEGMENTS}{name}/{segment}", _encode(cells) if cells else None
    for name, call in changes.calls.items():
        yield CALLS + name, _encode(call)
    for (name, version), offset in changes.policies.items():
        yield policy_key(name, version), str(offset).encode()
    for name, month in sorted(changes.ledger):
        ledger = {} if (found := state.services.get(name)) is None else found.ledger
        accounts = [account for (m, _), account in ledger.items() if m == month]
        yield f"{LEDGER}{name}/{month}", _encode(accounts) if accounts else None
    for rollout_id in sorted(state.rollouts.changed):
        yield ROLLOUTS + rollout_id, _encode(state.rollouts.known[rollout_id])
    if changes.orphans:
        yield (
            ORPHANS,
            _encode(OrphansImage(list(state.orphans.waiting.items()), state.orphans.dropped, state.undeclared)),
        )


def restore(
    cursor: int,
    services: Iterable[tuple[str, bytes]],
    segments: Iterable[tuple[str, bytes]],
    orphans: bytes | None,
    rollouts: Iterable[bytes] = (),
    ledgers: Iterable[bytes] = (),
) -> State:
    """The state as of `cursor` from the (key, body) pairs of its documents."""
    state = State()
    state.cursor = cursor
    for key, body in services:
        state.services[key.removeprefix(SERVICES)] = _restore_service(_service.decode(body))
    for key, body in segments:
        name, _, segment = key.removeprefix(SEGMENTS).partition("/")
        for image in _segment.decode(body):
            if name in state.services:
                state.services[name].cells[segment, image.variant] = _restore_cell(image)
    for account in (a for body in ledgers for a in _ledger.decode(body)):
        if account.service in state.services:
            state.services[account.service].ledger[account.month, account.segment] = account
    found = [_rollout.decode(body) for body in rollouts]
    state.rollouts = Rollouts({rollout.id: rollout for rollout in found})
    if orphans is not None:
        image_ = _orphans.decode(orphans)
        state.orphans = Orphans(dict(image_.waiting), image_.dropped)
        state.undeclared = image_.undeclared
    return state


def _service_image(s: ServiceState) -> ServiceImage:
    scores = [(*key, n, total) for key, (n, total) in s.scores.items()]
    return ServiceImage(
        s.declaration,
        s.revision,
        sorted(s.segments),
        s.events,
        s.since_policy,
        s.policy,
        s.catalog,
        s.assigned,
        scores,
        s.last_event_at,
        s.splits,
    )


def _restore_service(image: ServiceImage) -> ServiceState:
    s = ServiceState(image.declaration, image.revision)
    s.segments = set(image.segments)
    s.events = image.events
    s.since_policy = image.since_policy
    s.policy = image.policy
    s.catalog = image.catalog
    s.assigned = image.assigned
    s.scores = {(a, b, c): (n, total) for a, b, c, n, total in image.scores}
    s.last_event_at = image.last_event_at
    s.splits = image.splits
    return s


def _cell_image(variant: str, c: Cell) -> CellImage:
    return CellImage(
        variant,
        c.calls,
        c.errors,
        c.tokens,
        c.tokens_known,
        c.cost_usd,
        c.cost_known,
        c.quality_known,
        c.quality_sum,
        c.quality_squares,
        c.latency.state(),
        c.ttft.state(),
        c.evidence.state(),
    )


def _restore_cell(image: CellImage) -> Cell:
    c = Cell()
    c.calls, c.errors = image.calls, image.errors
    c.tokens, c.tokens_known = image.tokens, image.tokens_known
    c.cost_usd, c.cost_known = image.cost_usd, image.cost_known
    c.quality_known, c.quality_sum, c.quality_squares = image.quality_known, image.quality_sum, image.quality_squares
    c.latency = QuantileSketch.restore(image.latency)
    c.ttft = QuantileSketch.restore(image.ttft)
    c.evidence = Evidence.restore(image.evidence)
    return c

"""The fold: what is counted, what joins, and that a snapshot plus the rest equals the whole log."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core import records
from optimizer.core.assignment import encode
from optimizer.core.declaration import observed_service
from optimizer.core.fold import Changes, State, report, snapshot
from optimizer.core.rollout import Command, RolloutSpec
from optimizer.model import FeedbackEvent, Objective, Policy, Reason, Row, Score, Service, Split, Variant

KEY = b"k" * 32
SERVICE = Service(
    name="chat",
    objective=Objective(goal="minimize_cost"),
    variants=(Variant(name="a"), Variant(name="b")),
    baseline="a",
    segment_by=("task",),
)
Log = list[tuple[str, bytes]]


def declared(service: Service = SERVICE) -> tuple[str, bytes]:
    return records.SERVICE, records.encode(records.Declared(service.name, 0, service))


def policy(version: int, cursor: int) -> Policy:
    row = Row((0.5, 0.5), (True, True))
    return Policy(
        service="chat",
        version=version,
        cursor=cursor,
        seed=1,
        created_at=0,
        variants=("a", "b"),
        baseline=0,
        default=row,
    )


def feedback(i: int, **fields: object) -> tuple[str, bytes]:
    event = FeedbackEvent(event_id=f"e{i}", service="chat", occurred_at=i, received_at=i, variant="a")
    return records.FEEDBACK, records.encode(msgspec.structs.replace(event, **fields))


def score(i: int, value: float, **fields: str) -> tuple[str, bytes]:
    item = Score(score_id=f"s{i}", name="quality", value=value, source="human", occurred_at=i, received_at=i, **fields)
    return records.SCORE, records.encode(item)


def fold(log: Sequence[tuple[str, bytes]], state: State | None = None, start: int = 0) -> State:
    state = State() if state is None else state
    for offset, (kind, payload) in enumerate(log[start:], start + 1):
        state.apply(offset, kind, payload, state.changes.calls)
    return state


def totals(state: State) -> dict[str, object]:
    found = report(state.services["chat"])["totals"]
    assert isinstance(found, dict)
    return found


def test_counts_are_exact_and_unknown_is_not_zero() -> None:
    log = [
        declared(),
        feedback(1, input_tokens=10, output_tokens=3, cost_usd=Decimal("0.000000001"), quality=1.0, latency_ms=5.0),
        feedback(2, input_tokens=20, cost_usd=Decimal("0.000000002"), error_type="timeout"),
        feedback(3),
    ]
    found = totals(fold(log))
    assert (found["events"], found["errors"]) == (3, 1)
    assert (found["input_tokens"], found["input_tokens_unknown"]) == (30, 1)
    assert (found["output_tokens"], found["output_tokens_unknown"]) == (3, 2)
    assert (found["cost_usd"], found["cost_unknown"]) == ("0.000000003", 1)
    assert (found["reasoning_tokens"], found["reasoning_tokens_unknown"]) == (None, 3)
    quality = found["quality"]
    assert isinstance(quality, dict)
    assert (quality["mean"], quality["known"]) == (1.0, 1)
    assert quality["low"] < 1.0


def test_nothing_known_is_reported_as_unknown() -> None:
    found = totals(fold([declared(), feedback(1)]))
    assert (found["cost_usd"], found["quality"], found["latency_ms"]) == (None, None, None)


def test_an_assignment_places_a_call_without_variant_or_context() -> None:
    assignment = encode(
        KEY,
        service="chat",
        policy_version=1,
        segment="task=sum",
        variant=1,
        reason="explore",
        decided_at=1,
        nonce=b"12345678",
    )
    log = [declared(), (records.POLICY, records.encode(policy(1, 1)))]
    log.append(feedback(3, variant=None, assignment_id=assignment))
    assert set(fold(log).services["chat"].cells) == {("task=sum", "b")}


def test_observing_a_service_does_not_touch_one_that_is_declared() -> None:
    seen = records.Declared("chat", 0, observed_service("chat"), observed=True)
    observed = (records.SERVICE, records.encode(seen))
    unattributed = feedback(1, variant=None)
    first = fold([observed, unattributed, observed, feedback(2, variant=None)])
    assert first.services["chat"].declaration.mode == "fixed"
    assert first.services["chat"].cell("*", "").calls == 2
    taken_over = fold([observed, unattributed, declared(), observed, feedback(2)])
    assert taken_over.services["chat"].declaration == SERVICE
    assert taken_over.services["chat"].events == 2


def test_an_old_assignment_keeps_its_variant_after_the_service_changed() -> None:
    assignment = encode(
        KEY,
        service="chat",
        policy_version=1,
        segment="task=x",
        variant=1,
        reason="explore",
        decided_at=1,
        nonce=b"12345678",
    )
    other = msgspec.structs.replace(SERVICE, variants=(Variant(name="c"), Variant(name="d")), baseline="c")
    newer = msgspec.structs.replace(policy(2, 3), variants=("c", "d"))
    log = [declared(), (records.POLICY, records.encode(policy(1, 1))), declared(other)]
    log += [(records.POLICY, records.encode(newer)), feedback(5, variant=None, assignment_id=assignment)]
    state = fold(log).services["chat"]
    assert set(state.cells) == {("task=x", "b")}
    assert state.ever() == {"a", "b", "c", "d"}


def test_a_score_joins_its_call_in_either_order() -> None:
    call, late = feedback(2, request_id="r1"), score(3, 0.25, request_id="r1")
    for log in ([declared(), call, late], [declared(), late, call]):
        quality = totals(fold(log))["quality"]
        assert isinstance(quality, dict)
        assert (quality["mean"], quality["known"]) == (0.25, 1)


def test_a_later_score_replaces_what_was_known_of_the_call() -> None:
    log = [
        declared(),
        feedback(2, request_id="r1", quality=1.0),
        score(3, 0.0, request_id="r1"),
        score(4, 0.5, request_id="r1"),
    ]
    quality = totals(fold(log))["quality"]
    assert isinstance(quality, dict)
    assert (quality["mean"], quality["known"]) == (0.5, 1)


def test_scores_without_a_call_wait_bounded() -> None:
    log = [declared()] + [score(i, 0.5, request_id=f"r{i}") for i in range(10_005)]
    state = fold(log)
    assert len(state.orphans.waiting) == 10_000
    assert state.orphans.dropped == 5


def test_withdrawing_a_service_removes_its_documents() -> None:
    gone = (records.SERVICE, records.encode(records.Declared("chat", 9, None)))
    state = fold([declared(), feedback(1), gone])
    bodies = dict(snapshot.documents(state, state.changes))
    assert bodies["fold/service/chat"] is None
    assert bodies["fold/segment/chat/task=!"] is None


def test_of_two_planners_the_first_in_the_log_wins() -> None:
    rival = msgspec.structs.replace(policy(1, 1), seed=99)
    log = [declared(), (records.POLICY, records.encode(policy(1, 1))), (records.POLICY, records.encode(rival))]
    adopted = fold(log).services["chat"].policy
    assert adopted is not None
    assert adopted.seed == 1


def assignment(reason: Reason, variant: int, version: int = 1) -> str:
    return encode(
        KEY,
        service="chat",
        policy_version=version,
        segment="task=x",
        variant=variant,
        reason=reason,
        decided_at=1,
        nonce=b"12345678",
    )


def test_the_ledger_is_the_difference_to_the_holdout() -> None:
    spec = msgspec.structs.replace(SERVICE, holdout=0.5)
    log = [declared(spec), (records.POLICY, records.encode(policy(1, 1)))]
    november = 1_794_000_000_000_000
    for i in range(100):
        cost = Decimal("0.010") if i % 2 else Decimal("0.002")
        held = assignment("holdout", 0) if i % 2 else assignment("exploit", 1)
        log.append(feedback(i, variant=None, assignment_id=held, cost_usd=cost, occurred_at=november))
    found = report(fold(log).services["chat"])["ledger"]
    assert isinstance(found, dict)
    assert (found["total"]["saved_usd"], found["total"]["shown"]) == ("0.400000000", True)
    assert found["total"]["holdout_calls"] == 50
    assert list(found["months"]) == ["2026-11"]


def test_without_a_holdout_nothing_is_claimed() -> None:
    log = [declared(), (records.POLICY, records.encode(policy(1, 1)))]
    log += [feedback(i, assignment_id=assignment("exploit", 0), cost_usd=Decimal(1)) for i in range(60)]
    assert report(fold(log).services["chat"])["ledger"] is None


def restored(state: State) -> State:
    found = {k: v for k, v in snapshot.documents(state, state.changes) if v is not None}

    def pairs(prefix: str) -> list[tuple[str, bytes]]:
        return [(k, v) for k, v in sorted(found.items()) if k.startswith(prefix)]

    def bodies(prefix: str) -> list[bytes]:
        return [v for _, v in pairs(prefix)]

    again = snapshot.restore(
        state.cursor,
        pairs(snapshot.SERVICES),
        pairs(snapshot.SEGMENTS),
        found.get(snapshot.ORPHANS),
        bodies(snapshot.ROLLOUTS),
        bodies(snapshot.LEDGER),
    )
    again.changes = Changes(calls=dict(state.changes.calls))
    return again


def everything(state: State) -> bytes:
    names = set(state.services)
    segments = {(n, s) for n in names for s, _ in state.services[n].cells}
    ledger = {(n, m) for n in names for m, _ in state.services[n].ledger}
    state.rollouts.changed = set(state.rollouts.known)
    whole = Changes(services=names, segments=segments, ledger=ledger, orphans=True)
    return repr(sorted(snapshot.documents(state, whole))).encode()


REASONS: tuple[Reason, ...] = ("holdout", "rollout", "exploit", "explore")
events = st.builds(
    feedback,
    st.integers(0, 10**6),
    request_id=st.sampled_from(["r1", "r2", "r3", None]),
    assignment_id=st.none() | st.builds(assignment, st.sampled_from(REASONS), st.integers(0, 1), st.integers(1, 2)),
    variant=st.sampled_from(["a", "b", None]),
    context=st.sampled_from([{}, {"task": "x"}, {"task": "y"}, {"task": 3}]),
    quality=st.none() | st.floats(0, 1),
    cost_usd=st.none() | st.decimals(0, 1, places=9),
    latency_ms=st.none() | st.floats(0, 1e6),
    error_type=st.none() | st.just("429"),
)
scores = st.builds(score, st.integers(0, 10**6), st.floats(0, 1), request_id=st.sampled_from(["r1", "r2", "r3"]))
SPEC = RolloutSpec(
    service="chat", baseline="a", candidate="b", stages=(50.0, 100.0), stage_min_s=0.0, stage_min_events=2
)
COMMANDS: tuple[Literal["pause", "resume", "cancel", "rollback"], ...] = ("pause", "resume", "cancel", "rollback")
begun = st.builds(
    lambda n: (records.ROLLOUT, records.encode(records.RolloutStarted(f"r{n}", SPEC, "salt", n, "ann", 9))),
    st.integers(0, 2),
)
steered = st.builds(
    lambda n, action: (
        records.ROLLOUT,
        records.encode(records.RolloutCommand(f"r{n}", Command(n, action, "ann"))),
    ),
    st.integers(0, 2),
    st.sampled_from(COMMANDS),
)
SPLIT = msgspec.structs.replace(policy(2, 2), split=Split("r1", 1, 0.5, "salt"), stale=(("task=x", "a"),))
HEAD = [
    declared(msgspec.structs.replace(SERVICE, holdout=0.1)),
    (records.POLICY, records.encode(policy(1, 1))),
    (records.ROLLOUT, records.encode(records.RolloutStarted("r1", SPEC, "salt", 1, "ann", 9))),
    (records.POLICY, records.encode(SPLIT)),
]


@settings(max_examples=80, deadline=None)
@given(st.lists(events | scores | begun | steered, max_size=40), st.integers(0, 45))
def test_a_snapshot_and_the_rest_of_the_log_give_the_same_bytes(log: Log, cut: int) -> None:
    whole = [*HEAD, *log]
    cut = min(cut, len(whole))
    resumed = fold(whole, restored(fold(whole[:cut])), cut)
    assert everything(resumed) == everything(fold(whole))

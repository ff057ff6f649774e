"""The report of a service: what has been folded so far, per variant and segment, and what the policy does with it."""

import math
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from optimizer.core.assignment import served
from optimizer.core.fold.cell import TOKEN_FIELDS, Cell
from optimizer.core.fold.service import ServiceState
from optimizer.core.ledger import LEAST, Account, pooled, saving, total
from optimizer.core.sketch import QuantileSketch
from optimizer.model import InvalidArgument

QUANTILES = (0.5, 0.95, 0.99)
Json = dict[str, object]


def report(state: ServiceState, segment_by: str | None = None) -> Json:
    """Totals, variants over all segments, and segments with their variants and probabilities.

    `segment_by` may name the service's own segment keys (comma separated) or be None; other keys were never counted
    separately and are refused. Unknown sums are None; `*_unknown` says how many calls did not report the value.
    """
    own = list(state.declaration.segment_by)
    if segment_by and segment_by.split(",") != own:
        raise InvalidArgument(f"this service is segmented by {own}, not by {segment_by!r}", field="segment_by")
    variants = sorted({v for _, v in state.cells} | {v.name for v in state.declaration.variants})
    segments = sorted({s for s, _ in state.cells})
    return {
        "service": state.declaration.name,
        "totals": summary(state.cells.values()),
        "variants": {v: summary(c for (_, w), c in state.cells.items() if w == v) for v in variants},
        "segments": {s: _segment(state, s) for s in segments},
        "policy": _policy(state),
        "assigned": dict(sorted(state.assigned.items())),
        "scores": _scores(state),
        "ledger": _ledger(state),
    }


def summary(cells: Iterable[Cell]) -> Json:
    """The sums of some cells: `events`, tokens, `cost_usd` (exact, as text), errors, quality, latency quantiles."""
    cells = list(cells)
    calls = sum(c.calls for c in cells)
    out: Json = {"events": calls, "errors": sum(c.errors for c in cells)}
    for i, name in enumerate(TOKEN_FIELDS):
        known = sum(c.tokens_known[i] for c in cells)
        out[name] = _sum_or_unknown(sum(c.tokens[i] for c in cells), known, calls)
        if known < calls:
            out[f"{name}_unknown"] = calls - known
    known = sum(c.cost_known for c in cells)
    cost = _sum_or_unknown(sum((c.cost_usd for c in cells), Decimal(0)), known, calls)
    out["cost_usd"] = None if cost is None else format(cost, "f")
    if known < calls:
        out["cost_unknown"] = calls - known
    out["quality"] = quality(cells)
    out["latency_ms"] = _quantiles(c.latency for c in cells)
    out["ttft_ms"] = _quantiles(c.ttft for c in cells)
    return out


def quality(cells: Iterable[Cell]) -> Json | None:
    """Mean quality and a 95 % interval (Wilson 1927, with the sample's variance), None when unknown."""
    cells = list(cells)
    n = sum(c.quality_known for c in cells)
    if n == 0:
        return None
    mean = sum(c.quality_sum for c in cells) / n
    variance = max(sum(c.quality_squares for c in cells) / n - mean * mean, 0.0)
    z = 1.959964
    centre = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(variance / n + z * z / (4 * n * n))
    return {"mean": mean, "low": max(centre - half, 0.0), "high": min(centre + half, 1.0), "known": n}


def _sum_or_unknown(total: int | Decimal, known: int, calls: int) -> int | Decimal | None:
    return None if calls and not known else total


def _quantiles(sketches: Iterable[QuantileSketch]) -> Json | None:
    merged = QuantileSketch()
    for sketch in sketches:
        merged.merge(sketch)
    if merged.count == 0:
        return None
    return {f"p{q * 100:g}": merged.quantile(q) for q in QUANTILES}


def _segment(state: ServiceState, segment: str) -> Json:
    variants = {v: summary([c]) for (s, v), c in sorted(state.cells.items()) if s == segment}
    return {"variants": variants, "probabilities": probabilities(state, segment)}


def probabilities(state: ServiceState, segment: str) -> Json | None:
    """What `decide` gives in this segment now, None before the first policy."""
    policy = state.policy
    if policy is None:
        return None
    return dict(zip(policy.variants, served(policy, segment), strict=True))


def _policy(state: ServiceState) -> Json | None:
    """The policy in force; `pending` events are newer than it."""
    policy = state.policy
    if policy is None:
        return None
    return {
        "version": policy.version,
        "mode": policy.mode,
        "cursor": policy.cursor,
        "holdout": policy.holdout,
        "pending": state.since_policy,
    }


def _ledger(state: ServiceState) -> Json | None:
    """What the holdout says was saved, by month and in all; None for a service without a holdout so far."""
    accounts = [account for _, account in sorted(state.ledger.items())]
    if not accounts:
        return None
    months = sorted({a.month for a in accounts})
    return {
        "total": _saving(accounts),
        "months": {month: _saving([a for a in accounts if a.month == month]) for month in months},
    }


def _saving(accounts: list[Account]) -> Json:
    """Compared within segments where every segment's holdout is large enough, else over all segments together."""
    apart = all(min(a.holdout.priced, a.treated.priced) >= LEAST for a in accounts)
    found = total(accounts) if apart else saving(pooled(accounts))
    fields = msgspec.structs.asdict(found)
    money = {k: None if v is None else format(v, "f") for k, v in fields.items() if k.endswith("_usd")}
    kept = ("quality_change", "quality_low", "quality_high", "calls", "holdout_calls", "unpriced_calls", "alpha")
    return {**money, **{k: fields[k] for k in kept}, "shown": found.shown, "by_segment": apart}


def _scores(state: ServiceState) -> Json:
    by_name: dict[str, tuple[int, float]] = {}
    for (_, _, name), (n, values) in state.scores.items():
        m, so_far = by_name.get(name, (0, 0.0))
        by_name[name] = (m + n, so_far + values)
    return {name: {"count": n, "mean": values / n} for name, (n, values) in sorted(by_name.items())}

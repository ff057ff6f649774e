"""What the judge answers."""

from typing import Literal

import msgspec

Word = Literal["better", "worse", "equivalent", "inconclusive"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One guardrail's answer now.

    "worse": the candidate breaks the bound. "better": it is better than the baseline. "equivalent": it is shown to be
    no worse than the bound allows. "inconclusive": neither; never a pass. `kept` is True when the bound is shown to
    be kept, False when it is shown to be broken, None while unknown: rollouts act on it. `effect` is candidate minus
    baseline in the metric's unit (a ratio for quantiles, the distance to the bound's level for absolute bounds)
    inside `interval`. `events` are the outcomes of the candidate, `baseline_events` the baseline's. `confidence` is 1
    - 1 / (e-value of the decisive test), at least 0.
    """

    metric: str
    bound: str
    limit: float
    verdict: Word
    kept: bool | None
    effect: float | None
    interval: tuple[float | None, float | None]
    events: int
    baseline_events: int
    alpha: float
    confidence: float
    candidate: float | None = None
    baseline: float | None = None
    segment: str = ""
    quantile: float | None = None
    notes: tuple[str, ...] = ()


def word_of(broken: bool, shown: bool, gained: bool) -> tuple[Word, bool | None]:
    """The word and `kept` from what the three tests reject."""
    if broken:
        return "worse", False
    if gained:
        return "better", True if shown else None
    if shown:
        return "equivalent", True
    return "inconclusive", None

"""A service's report on the wire. It is the same report that REST answers with."""

from collections.abc import Iterator, Mapping
from typing import Any

from optimizer.grpc_api.pb import routing_pb2 as pb

Json = Mapping[str, Any]


def to_report(report: Json, *, by_segment: bool, folded_to: int) -> pb.GetReportResponse:
    """Totals, then a row for each variant and, when asked, for each of its segments."""
    totals = report["totals"]
    policy = report.get("policy")
    return pb.GetReportResponse(
        service=report["service"],
        totals=pb.Totals(
            events=totals["events"],
            input_tokens=totals["input_tokens"] or 0,
            output_tokens=totals["output_tokens"] or 0,
            cost_usd=totals["cost_usd"],
            errors=totals["errors"],
        ),
        rows=list(_rows(report, by_segment)),
        ledger=_ledger(report.get("ledger")),
        policy_version=0 if policy is None else policy["version"],
        folded_to=folded_to,
    )


def _ledger(ledger: Json | None) -> pb.Ledger | None:
    """What the holdout says was saved in all; unset without a holdout, amounts unset while too little is known."""
    if ledger is None:
        return None
    found = ledger["total"]
    return pb.Ledger(
        saved_usd=found["saved_usd"],
        saved_low_usd=found["low_usd"],
        saved_high_usd=found["high_usd"],
        confidence=1 - found["alpha"],
        treated_events=found["calls"] - found["holdout_calls"],
        holdout_events=found["holdout_calls"],
    )


def _rows(report: Json, by_segment: bool) -> Iterator[pb.ReportRow]:
    segments = report["segments"]
    # With one segment its probabilities are those of the whole service.
    only = next(iter(segments.values()))["probabilities"] if len(segments) == 1 else None
    for variant, summary in report["variants"].items():
        yield _row(variant, "", summary, (only or {}).get(variant))
    if by_segment:
        for segment, found in segments.items():
            for variant, summary in found["variants"].items():
                yield _row(variant, segment, summary, (found["probabilities"] or {}).get(variant))


def _row(variant: str, segment: str, summary: Json, probability: float | None) -> pb.ReportRow:
    quality, latency = summary["quality"] or {}, summary["latency_ms"] or {}
    return pb.ReportRow(
        variant=variant,
        segment=segment,
        calls=summary["events"],
        errors=summary["errors"],
        input_tokens=summary["input_tokens"] or 0,
        output_tokens=summary["output_tokens"] or 0,
        cost_usd=summary["cost_usd"],
        quality=quality.get("mean"),
        quality_count=quality.get("known", 0),
        latency_ms=[
            pb.Quantile(q=float(name.removeprefix("p")) / 100, value=value)
            for name, value in latency.items()
            if name.startswith("p")
        ],
        probability=probability,
    )

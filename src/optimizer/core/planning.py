"""The next policy of a service, computed from its state alone: live by the planner, and again by a replay."""

import hashlib

from optimizer.core.fold import ServiceState
from optimizer.core.learning import learn
from optimizer.model import Policy, Row, Split


def compute(service: ServiceState, split: Split | None, cursor: int, now: int) -> Policy:
    """The next policy of a service: a function of its state, its version number and nothing else (`now` is a stamp)."""
    spec = service.declaration
    version = 1 if service.policy is None else service.policy.version + 1
    seed = int.from_bytes(hashlib.blake2b(f"{spec.name}/{version}".encode(), digest_size=6).digest(), "big")
    baseline = spec.index(spec.baseline)
    if baseline is None:
        raise ValueError(f"service {spec.name!r} was declared with an unknown baseline")
    stale: tuple[tuple[str, str], ...] = ()
    if spec.mode == "fixed":
        only = tuple(1.0 if i == baseline else 0.0 for i in range(len(spec.variants)))
        rows, default = {}, Row(only, tuple(p > 0 for p in only))
    else:
        evidence = {key: cell.evidence for key, cell in service.cells.items()}
        learnt = learn(spec, evidence)
        rows, default, stale = learnt.rows, learnt.default, tuple(sorted(learnt.stale))
    return Policy(
        service=spec.name,
        version=version,
        cursor=cursor,
        seed=seed,
        created_at=now,
        variants=tuple(v.name for v in spec.variants),
        baseline=baseline,
        default=default,
        rows=rows,
        holdout=spec.holdout,
        split=split,
        mode=spec.mode,
        stale=stale,
    )

"""Many runs over the machine's cores, and what they showed together."""

import gc
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from unittest import mock

from werkzeug.routing import Rule

from tests.simulation.faults import Fault, Kind
from tests.simulation.runs import Outcome, run_seed, shrink_seed


@dataclass(kw_only=True)
class Summary:
    """All runs of a campaign."""

    runs: int = 0
    failed: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    lives: int = 0
    acknowledged: int = 0
    steps: int = 0
    virtual_s: float = 0.0
    opened: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a run."""
        self.runs += 1
        self.seen.update(set(outcome.seen))
        self.lives += outcome.lives
        self.acknowledged += outcome.acknowledged
        self.steps += outcome.steps
        self.virtual_s += outcome.seconds
        self.opened += outcome.opened > 0
        if outcome.violations:
            self.failed.append((outcome.seed, outcome.violations))

    def missing(self) -> list[str]:
        """Kinds of fault that happened in less than 1 % of the runs."""
        return [kind.value for kind in Kind if self.seen[kind.value] < self.runs / 100]


def settle_in() -> None:
    """Once in each worker: what the imports made is left out of the collections between the runs, and the code that
    Werkzeug compiles for each route (to build URLs, which nobody does here) is compiled for the first life alone.
    """
    compiled = Rule._compile_builder
    known: dict[tuple[str, bool], object] = {}

    def compile_once(rule: Rule, append_unknown: bool = True) -> object:
        name = (rule.rule, append_unknown)
        if name not in known:
            known[name] = compiled(rule, append_unknown)
        return known[name]

    mock.patch.object(Rule, "_compile_builder", compile_once).start()  # for the life of the worker
    gc.collect()
    gc.freeze()


def run_many(seeds: Iterable[int], *, processes: int | None = None, stop_after: int = 20) -> Summary:
    """Run the seeds, several at a time; stops early when many have failed."""
    summary = Summary()
    count = processes or len(os.sched_getaffinity(0))
    with multiprocessing.get_context("forkserver").Pool(count, settle_in) as pool:
        for outcome in pool.imap_unordered(run_seed, seeds, chunksize=8):
            summary.add(outcome)
            if len(summary.failed) >= stop_after:
                break
    return summary


def explain(seed: int) -> str:
    """A failing seed with as few faults as possible, as text."""
    outcome = shrink_seed(seed)
    faults = "\n".join(f"    {_words(fault)}" for fault in outcome.faults) or "    no fault at all"
    violations = "\n".join(f"    {violation}" for violation in outcome.violations[:10])
    return f"seed {seed} (trace {outcome.digest}) fails with\n{faults}\n  because\n{violations}"


def _words(fault: Fault) -> str:
    return f"{fault.at:7.3f} s  {fault.kind.value} ({fault.target}, size {fault.size:.2f}, {fault.steps} steps)"

"""Drift of who answers: the model name or fingerprint that responses carry."""

from math import log

import msgspec

from optimizer.core.drift.scan import ChangeScan, Shift

MAX_CATEGORIES = 16
"""Answerers told apart on one stream; a provider shows two or three during a migration. Others share one name."""

OTHER = "(other)"


class FingerprintDetector(msgspec.Struct, array_like=True):
    """Watches the share of calls that each answerer has; any change of the mix makes some share rise.

    Every answerer has its own one-sided scan. The k-th to appear gets 1 / (k (k + 1)) of the false-alarm budget, which
    sums to the whole however many appear. One first seen now is known to have had no call before.
    """

    average_run_length: float
    minimum_before: int = 50
    count: int = 0
    baseline_at: int = 0
    last_at: int = 0
    scans: dict[str, ChangeScan] = {}

    def add(self, category: str, time: int) -> tuple[str, Shift] | None:
        """Count one call; (answerer, its risen share) once when a change of the mix is certain."""
        if category not in self.scans:
            if len(self.scans) >= MAX_CATEGORIES:
                category = OTHER
            if category not in self.scans:
                self.scans[category] = self._newcomer(len(self.scans) + 1)
        self.count += 1
        self.last_at = time
        if self.count == self.minimum_before:
            self.baseline_at = time
        found: tuple[str, Shift] | None = None
        for name, scan in self.scans.items():
            share = 1.0 if name == category else 0.0
            shift = scan.add(share, share, time)
            if shift is not None:
                found = (name, shift)
        if found is not None:
            self.count, self.scans = 0, {}
        return found

    def _newcomer(self, place: int) -> ChangeScan:
        limit = log(self.average_run_length * place * (place + 1))
        scan = ChangeScan(None, limit, minimum_before=self.minimum_before)
        scan.count = self.count
        if self.count >= self.minimum_before:
            scan.lower = [(self.minimum_before, 0.0, 0.0, self.baseline_at, 0.0, 0.0)]
            if self.count > self.minimum_before:
                scan.lower.append((self.count, 0.0, 0.0, self.last_at, 0.0, 0.0))
        return scan

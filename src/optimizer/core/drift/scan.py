"""Find a shift of a stream's mean, whatever the mean was before, with few false alarms and few events lost.

`ChangeScan` computes, after every event, the generalised likelihood ratio of "the mean shifted after event k" against
"it never did", maximised over every k and over both unknown means, and reports the k when it exceeds a limit. That is
the two-sample form of the GLR procedure of Siegmund and Venkatraman, "Using the generalized likelihood ratio statistic
for sequential detection of a change-point", Annals of Statistics 23(1), 1995, which needs no known level before the
change. Only vertices of the convex hull of the points (k, sum of the first k values) can attain the maximum, because
the statistic is convex in that point; this is the functional pruning of Romano, Eckley, Fearnhead and Rigaill, "Fast
online changepoint detection via functional pruning CUSUM statistics", JMLR 24, 2023. The hull of a random walk has
about log(n) vertices, so one event costs a few microseconds.

Values lie in [0, 1]. The likelihood is that of the worst distribution with the stream's mean and variance on that
interval, which is a two-point one (Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 58,
1963, section 4). For values of 0 and 1 it is the exact Bernoulli likelihood; for others no rarer outlier can break it.
"""

from math import log, sqrt

import msgspec

Vertex = tuple[int, float, float, int, float, float]
"""(events so far, their sum, their raw sum, time of the last, sum of their squares, of products of neighbours)."""

MAX_VERTICES = 48
"""A random walk of 20,000 steps has about 10 hull vertices; only a steadily curving series has more, and is thinned."""

MEMORY = 10_000
"""Events a baseline is made of at most; more would make it resist slow, wanted change and gain no power."""

STRIDE = 1_000
"""How many of the oldest events are forgotten at once when the memory is full."""


class Shift(msgspec.Struct, frozen=True, array_like=True):
    """A found shift. `evidence` is the log likelihood ratio in nats; `changed_at` the time of the last event before."""

    direction: int
    changed_at: int
    events_before: int
    events_after: int
    mean_before: float
    mean_after: float
    raw_before: float
    raw_after: float
    evidence: float
    squares_before: float
    cross_before: float


class ChangeScan(msgspec.Struct, array_like=True):
    """The scan's whole state; encode it with msgspec, decode it, and it goes on as if nothing had happened.

    `limit_down` and `limit_up` are the evidence in nats that a fall or a rise needs; None does not look for it.
    Nothing is said before event `minimum_before`: so many events at least make the baseline.
    """

    limit_down: float | None
    limit_up: float | None
    minimum_before: int = 50
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    cross: float = 0.0
    raw_total: float = 0.0
    previous: float = 0.0
    upper: list[Vertex] = []
    lower: list[Vertex] = []
    marks: list[tuple[int, float, float, float, float]] = []
    rest_down: int = 0
    rest_up: int = 0

    def add(self, value: float, raw: float, time: int) -> Shift | None:
        """Count one value in [0, 1] (`raw` is its value in its own unit) and report a shift that it makes certain.

        A value on the far side of the mean cannot raise the evidence for a shift to this side, so only the hull on
        the value's own side is looked at; and one value can raise it only so far, so not at every value (`_rest`).
        """
        n = self.count = self.count + 1
        total = self.total = self.total + value
        self.squares += value * value
        self.cross += value * self.previous
        self.previous = value
        self.raw_total += raw
        found = None
        if n > self.minimum_before:
            if value * n < total:
                if self.rest_down > 0:
                    self.rest_down -= 1
                elif self.limit_down is not None:
                    found, self.rest_down = self._search(self.upper, -1, self.limit_down)
            elif self.rest_up > 0:
                self.rest_up -= 1
            elif self.limit_up is not None:
                found, self.rest_up = self._search(self.lower, 1, self.limit_up)
        if n >= self.minimum_before:
            vertex = (n, total, self.raw_total, time, self.squares, self.cross)
            if self.limit_down is not None:
                _push(self.upper, vertex, 1.0)
            if self.limit_up is not None:
                _push(self.lower, vertex, -1.0)
        if n % STRIDE == 0:
            self._forget()
        return found

    def _search(self, hull: list[Vertex], direction: int, limit: float) -> tuple[Shift | None, int]:
        """The best split if its evidence reaches the limit, and how many values of this side need no look."""
        n, total = self.count, self.total
        mean = total / n
        variance = self.squares / n - mean * mean
        if variance <= 1e-12:
            return None, 0
        low, high = (mean, 1.0 - mean) if direction < 0 else (1.0 - mean, mean)
        after_spread, before_spread = variance + low * low, variance + high * high
        p_after, p_before = variance / after_spread, variance / before_spread
        g_after, g_before = low / after_spread, high / before_spread
        best, place = 0.0, None
        for vertex in hull:
            k, before = vertex[0], vertex[1]
            m = n - k
            d = direction * ((total - before) / m - mean)
            if d <= 0.0:
                continue
            evidence = m * _divergence(p_after + d * g_after, p_after)
            evidence += k * _divergence(p_before + d * m / k * g_before, p_before)
            if evidence > best:
                best, place = evidence, vertex
        if best < limit:
            return None, _rest(limit - best, p_after, n)
        if place is None or best < limit * self._inflation(place):
            return None, 0
        return self._shift(place, direction, best), 0

    def _inflation(self, place: Vertex) -> float:
        """By how much the likeness of neighbours widens sums: (1 + r) / (1 - r), 1 unless r is beyond doubt.

        Each side is compared with its own mean, so that the shift itself does not count as likeness.
        """
        n, k, before = self.count, place[0], place[1]
        explained = before * before / k + (self.total - before) ** 2 / (n - k)
        spread = self.squares - explained
        if spread <= 1e-9:
            return 1.0
        r = (self.cross - explained) / spread
        if r * sqrt(n) < 3.0:
            return 1.0
        r = min(r, 0.95)
        return (1.0 + r) / (1.0 - r)

    def _shift(self, place: Vertex, direction: int, evidence: float) -> Shift:
        k, before, raw, time = place[:4]
        m = self.count - k
        return Shift(
            direction=direction,
            changed_at=time,
            events_before=k,
            events_after=m,
            mean_before=before / k,
            mean_after=(self.total - before) / m,
            raw_before=raw / k,
            raw_after=(self.raw_total - raw) / m,
            evidence=evidence,
            squares_before=place[4],
            cross_before=place[5],
        )

    def rearm(self, shift: Shift) -> None:
        """Make the events after the shift the new baseline."""
        self.count = shift.events_after
        self.total = shift.mean_after * shift.events_after
        self.raw_total = shift.raw_after * shift.events_after
        self.squares -= shift.squares_before
        self.cross -= shift.cross_before
        self.upper, self.lower, self.marks = [], [], []
        self.rest_down = self.rest_up = 0

    def _forget(self) -> None:
        """Remember where the stride began; when the memory is full, drop the oldest stride from every sum."""
        self.marks.append((self.count, self.total, self.squares, self.cross, self.raw_total))
        if self.count < MEMORY + STRIDE:
            return
        k, total, squares, cross, raw = self.marks[0]
        self.count -= k
        self.total -= total
        self.squares -= squares
        self.cross -= cross
        self.raw_total -= raw
        self.marks = [(a - k, b - total, c - squares, d - cross, e - raw) for a, b, c, d, e in self.marks[1:]]
        for hull in (self.upper, self.lower):
            hull[:] = [
                (a - k, b - total, c - raw, t, d - squares, e - cross)
                for a, b, c, t, d, e in hull
                if a - k >= self.minimum_before
            ]


def _rest(missing: float, p: float, n: int) -> int:
    """How many values of one side cannot bring the evidence that is missing.

    One value adds at most -log p to the likelihood of any alternative, relative to the null's. p moves with the mean,
    so the pause is kept short against the stream.
    """
    return min(int(missing / max(-log(p), 1e-9)), n // 20)


def _divergence(q: float, p: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions, in nats."""
    if q >= 1.0:
        return -log(p)
    return q * log(q / p) + (1.0 - q) * log((1.0 - q) / (1.0 - p))


def _push(hull: list[Vertex], vertex: Vertex, side: float) -> None:
    """Append the newest point and drop those that it leaves inside the hull."""
    k, s = vertex[0], vertex[1]
    while len(hull) >= 2:
        a, b = hull[-2], hull[-1]
        if side * ((b[1] - a[1]) * (k - b[0]) - (s - b[1]) * (b[0] - a[0])) > 0.0:
            break
        hull.pop()
    hull.append(vertex)
    if len(hull) > MAX_VERTICES:
        del hull[1 : MAX_VERTICES // 2 : 2]

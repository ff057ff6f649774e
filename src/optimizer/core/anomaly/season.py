"""What is usual at this time of the day or of the week, used only once it has proved to predict better."""

import msgspec

DAY = (86_400, 48)
WEEK = (604_800, 168)
"""Period in seconds and the number of slots it is cut into."""

VISITS = 3
"""A slot predicts after it was visited on three days (weeks)."""

MEMORY = 7
"""Visits that a slot remembers."""

PROOF = 200
"""Predictions compared before a profile may be used."""

ADOPT = 0.5
"""A profile is used once its squared error is below this share of that of the overall mean ..."""

DROP = 0.8
"""... and no longer when it exceeds this one."""

_ERROR_HORIZON = 1_000


class Profile(msgspec.Struct, array_like=True):
    """The usual level in each slot of one period, and how well it predicted so far."""

    period: int
    slots: int
    means: list[float]
    visits: list[int]
    slot: int = -1
    slot_sum: float = 0.0
    slot_count: int = 0
    overall_sum: float = 0.0
    visited: int = 0
    compared: int = 0
    error: float = 0.0
    overall_error: float = 0.0
    used: bool = False

    @classmethod
    def of(cls, shape: tuple[int, int]) -> "Profile":
        """An empty profile of the given period and number of slots."""
        period, slots = shape
        return cls(period, slots, [0.0] * slots, [0] * slots)

    def shift(self, value: float, seconds: int) -> float:
        """Count a value; by how much this time of the period is usually above the mean, 0 until that is proved."""
        slot = seconds % self.period * self.slots // self.period
        if slot != self.slot:
            self._close()
            self.slot = slot
        shift = 0.0
        if self.visits[slot] >= VISITS:
            usual, overall = self.means[slot], self.overall_sum / self.visited
            self._compare(value - usual, value - overall)
            if self.used:
                shift = usual - overall
        self.slot_sum += value
        self.slot_count += 1
        return shift

    def gain(self) -> float:
        """The share of the overall mean's squared error that the profile leaves; 1 when it is not used."""
        return self.error / self.overall_error if self.used and self.overall_error > 0.0 else 1.0

    def _close(self) -> None:
        """Add the visit that just ended to its slot."""
        if self.slot_count == 0:
            return
        level, slot = self.slot_sum / self.slot_count, self.slot
        self.slot_sum, self.slot_count = 0.0, 0
        self.visits[slot] += 1
        self.visited += self.visits[slot] == 1
        step = (level - self.means[slot]) / min(self.visits[slot], MEMORY)
        self.means[slot] += step
        self.overall_sum += step

    def _compare(self, error: float, overall: float) -> None:
        """Both predictions were made before the value was known, so the comparison is honest."""
        self.compared += 1
        weight = 1.0 / min(self.compared, _ERROR_HORIZON)
        self.error += weight * (error * error - self.error)
        self.overall_error += weight * (overall * overall - self.overall_error)
        if self.compared >= PROOF:
            self.used = self.error < (DROP if self.used else ADOPT) * self.overall_error


class Season(msgspec.Struct, array_like=True):
    """The better of a daily and a weekly profile."""

    day: Profile
    week: Profile

    @classmethod
    def new(cls) -> "Season":
        """Knows nothing yet."""
        return cls(Profile.of(DAY), Profile.of(WEEK))

    def shift(self, value: float, seconds: int) -> float:
        """Count a value and return what the time alone explains of it."""
        daily, weekly = self.day.shift(value, seconds), self.week.shift(value, seconds)
        return weekly if self.week.gain() < self.day.gain() else daily

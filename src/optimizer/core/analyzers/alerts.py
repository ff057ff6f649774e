"""Tells of a condition once when it begins, when it grows worse and when it ends, and reminds seldom in between."""

from collections.abc import Sequence
from hashlib import blake2s

import msgspec

from optimizer.core.analyzers.values import HOUR, SEVERITIES, Alert, AlertState, Analyzer, Condition, Severity

HOLD = 2
"""Analyses in a row that a condition must hold before it is told; a critical one is told at once."""

RECOVER = 3
"""Analyses in a row without it that end an episode: one quiet minute in the middle is not a recovery."""

REMIND = 6 * HOUR

MAX_EPISODES = 5_000
"""Conditions kept at once; far more than there are services times kinds. The one seen longest ago gives way."""


class Episode(msgspec.Struct, array_like=True):
    """One condition's history since it began."""

    last: Condition
    since: int
    seen: int
    absent: int = 0
    told: Severity | None = None
    told_at: int = 0


class AlertBook(msgspec.Struct):
    """Deduplication, hold-down, escalation and recovery; the whole state, which msgspec encodes."""

    analyzer: Analyzer
    episodes: dict[str, Episode] = {}
    forgotten: int = 0

    def update(self, now: int, conditions: Sequence[Condition]) -> list[Alert]:
        """Everything that holds at this analysis; what anybody should be told of it."""
        out: list[Alert] = []
        held: set[str] = set()
        for condition in conditions:
            key = "\x1f".join((condition.kind, condition.service, condition.metric))
            held.add(key)
            out += self._hold(key, condition, now)
        for key in [key for key in self.episodes if key not in held]:
            episode = self.episodes[key]
            episode.absent += 1
            if episode.told is None:
                del self.episodes[key]
            elif episode.absent >= RECOVER:
                del self.episodes[key]
                out.append(self._alert(key, episode, "resolved", "info", now))
        return out

    def _hold(self, key: str, condition: Condition, now: int) -> list[Alert]:
        episode = self.episodes.get(key)
        if episode is None:
            episode = self.episodes[key] = Episode(condition, condition.timestamp, 0)
            if len(self.episodes) > MAX_EPISODES:
                del self.episodes[next(iter(self.episodes))]
                self.forgotten += 1
        episode.last, episode.seen, episode.absent = condition, episode.seen + 1, 0
        severity = condition.severity
        if episode.told is None:
            if episode.seen < HOLD and severity != "critical":
                return []
            return self._tell(key, episode, "firing", now)
        if SEVERITIES.index(severity) > SEVERITIES.index(episode.told):
            return self._tell(key, episode, "escalated", now)
        if now - episode.told_at >= REMIND:
            return self._tell(key, episode, "reminder", now)
        return []

    def _tell(self, key: str, episode: Episode, state: AlertState, now: int) -> list[Alert]:
        episode.told, episode.told_at = episode.last.severity, now
        return [self._alert(key, episode, state, episode.last.severity, episode.last.timestamp)]

    def _alert(self, key: str, episode: Episode, state: AlertState, severity: Severity, timestamp: int) -> Alert:
        last = episode.last
        identity = f"{self.analyzer}\x1f{key}\x1f{episode.since}"
        return Alert(
            alert_id=blake2s(identity.encode(), digest_size=12).hexdigest(),
            state=state,
            analyzer=self.analyzer,
            alert_type=last.kind,
            severity=severity,
            service=last.service,
            metric=last.metric,
            value=last.value,
            threshold=last.threshold,
            timestamp=timestamp,
            since=episode.since,
            title=last.title,
            description=last.description,
        )

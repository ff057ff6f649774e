"""Made once for each object: encoded events for all their subscribers, converted configurations."""

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(Generic[K, V]):
    """Remembers what `make` made of the newest `size` objects, by identity."""

    def __init__(self, make: Callable[[K], V], size: int) -> None:
        self._make = make
        self._size = size
        self._made: dict[int, tuple[K, V]] = {}

    def __call__(self, source: K) -> V:
        """What was made of this very object."""
        known = self._made.get(id(source))
        if known is not None and known[0] is source:  # the entry keeps the object alive, so its id is its own
            return known[1]
        made = self._make(source)
        self._made[id(source)] = (source, made)
        if len(self._made) > self._size:
            del self._made[next(iter(self._made))]
        return made

"""Pages of a list, the same for every list of both front doors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from optimizer.model import InvalidArgument

T = TypeVar("T")

DEFAULT_SIZE = 20
LARGEST_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list of `total`; `number` counts from 1 and may lie beyond the last page."""

    items: Sequence[T]
    total: int
    number: int
    size: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // self.size)


def paginate(items: Sequence[T], number: int = 0, size: int = 0) -> Page[T]:
    """The page of that number; 0 stands for the first page and for `DEFAULT_SIZE`. Raises InvalidArgument."""
    if number < 0:
        raise InvalidArgument("pages count from 1", field="page")
    if not 0 <= size <= LARGEST_SIZE:
        raise InvalidArgument(f"a page holds 1 to {LARGEST_SIZE} items", field="page_size")
    number, size = number or 1, size or DEFAULT_SIZE
    first = (number - 1) * size
    return Page(items[first : first + size], len(items), number, size)

"""Bloom filters over 16-byte fingerprints, many at a time.

Bloom 1970; two hashes make k: Kirsch and Mitzenmacher 2006.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

PRINT = np.dtype([("high", ">u8"), ("low", ">u8")])
"""A fingerprint as two numbers; its bytes sort like (high, low)."""

BITS_PER_KEY = 16
PROBES = 6
"""16 bits and 6 probes: about one false positive in 1,000; a filter costs 2 MB of memory for a million keys."""

Bits = npt.NDArray[np.uint8]
Prints = npt.NDArray[np.void]


def filter_bits(count: int) -> int:
    """How many bits a filter for `count` keys has: a power of two."""
    return 1 << max(BITS_PER_KEY * count - 1, 7).bit_length()


def build_filter(parts: Iterable[Prints], count: int) -> Bits:
    """The filter that knows all of the `count` fingerprints, which come in parts."""
    size = filter_bits(count)
    flags = np.zeros(size, dtype=np.bool_)
    for prints in parts:
        spot, step, mask = _walk(prints, size)
        for _ in range(PROBES):
            flags[spot & mask] = True
            spot = spot + step
    return np.packbits(flags, bitorder="little")


def maybe_known(bits: Bits, prints: Prints) -> npt.NDArray[np.intp]:
    """The indexes of the fingerprints that the filter may know; those that it knows are among them for certain."""
    found = np.arange(len(prints))
    spot, step, mask = _walk(prints, 8 * len(bits))
    for _ in range(PROBES):
        at = spot & mask
        hit = np.flatnonzero((bits[at >> np.uint64(3)] >> (at & np.uint64(7)).astype(np.uint8)) & np.uint8(1))
        if len(hit) == 0:
            return found[:0]
        found, spot, step = found[hit], spot[hit] + step[hit], step[hit]
    return found


def _walk(prints: Prints, size: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], np.uint64]:
    spot = prints["high"].astype(np.uint64)
    step = prints["low"].astype(np.uint64) | np.uint64(1)
    return spot, step, np.uint64(size - 1)

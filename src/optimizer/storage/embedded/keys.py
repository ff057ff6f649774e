"""The layout of the one mapping: a letter says what a key holds, big-endian numbers keep the order.

| key | value (all sealed with a checksum but the format) |
|---|---|
| `M` "format" | the format version, decimal |
| `L` u64 last offset | a frame: the records of one append, or a part of them |
| `N` u64 last offset | fingerprints of the dedup keys of that append that are in no run yet, 16 bytes each |
| `R` u32 run | level, count, bits: a run is a set of fingerprints that never changes |
| `H` u32 run, u32 bucket | the fingerprints of the run whose first `bits` bits are the bucket's number |
| `B` u32 run | the run's Bloom filter, kept in memory while the store is open |
| `D` name | a document: its version, then its body |
| `C` name | a cursor: its offset |
"""

FORMAT = b"Mformat"
LOG, RECENT, RUN, BUCKET, FILTER, DOCUMENT, CURSOR = b"L", b"N", b"R", b"H", b"B", b"D", b"C"


def frame(last: int) -> bytes:
    """Where the frame lives whose newest record has this offset: the first key beyond `frame(n)` holds n + 1."""
    return LOG + last.to_bytes(8, "big")


def recent(last: int) -> bytes:
    """Where the fingerprints of the append ending at this offset live until they move into a run."""
    return RECENT + last.to_bytes(8, "big")


def run(number: int) -> bytes:
    """Where a run's description lives."""
    return RUN + number.to_bytes(4, "big")


def bucket(number: int, index: int) -> bytes:
    """Where one bucket of a run lives."""
    return BUCKET + number.to_bytes(4, "big") + index.to_bytes(4, "big")


def filter_of(number: int) -> bytes:
    """Where a run's filter lives."""
    return FILTER + number.to_bytes(4, "big")


def document(name: bytes) -> bytes:
    """Where a document lives."""
    return DOCUMENT + name


def cursor(name: bytes) -> bytes:
    """Where a cursor lives."""
    return CURSOR + name


def after_prefix(prefix: bytes) -> bytes:
    """The smallest key that is larger than every key with this prefix (whose bytes are not all 0xff)."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1])

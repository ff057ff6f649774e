"""What stands for a dedup key: every backend remembers 16 bytes of each, for ever."""

from hashlib import blake2b

PRINT_BYTES = 16


def fingerprint(dedup: bytes) -> bytes:
    """128 bits of BLAKE2b: among 10^12 keys the chance that any two share a fingerprint is 10^-15."""
    return blake2b(dedup, digest_size=PRINT_BYTES).digest()

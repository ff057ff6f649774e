"""Compressed bodies: what was packed comes out, a bomb does not."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.collector.otlp import TooLarge, unpack
from optimizer.model import InvalidArgument


@given(st.binary(max_size=2_000), st.sampled_from(["gzip", "GZIP", "deflate", "", "identity"]))
def test_what_was_packed_comes_out(body: bytes, encoding: str) -> None:
    packed = {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.get(encoding.lower(), body)
    assert unpack(packed, encoding) == body


def test_members_of_a_gzip_body_are_joined() -> None:
    assert unpack(gzip.compress(b"one") + gzip.compress(b"two"), "gzip") == b"onetwo"


@pytest.mark.parametrize("bomb", [gzip.compress(bytes(200 << 20)), gzip.compress(bytes(5 << 20)) * 20])
def test_a_bomb_is_refused_before_it_unfolds(bomb: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(TooLarge, match="larger than 8388608 bytes"):
        unpack(bomb, "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20


def test_a_body_exactly_at_the_bound_passes_and_one_byte_more_does_not() -> None:
    assert len(unpack(gzip.compress(bytes(100)), "gzip", limit=100)) == 100
    with pytest.raises(TooLarge):
        unpack(gzip.compress(bytes(101)), "gzip", limit=100)


@pytest.mark.parametrize("body", [b"plain", gzip.compress(b"text")[:-6], gzip.compress(b"x" * 999)[:20], b"\x1f\x8b"])
def test_damage_is_a_clear_error(body: bytes) -> None:
    with pytest.raises(InvalidArgument):
        unpack(body, "gzip")


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(InvalidArgument, match="'br'"):
        unpack(b"x", "br")

"""Assignment ids: anybody can read one, only we can write one."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.core.assignment import MAX_ID_LENGTH, AssignmentRef, encode, parse, verify
from optimizer.model import InvalidArgument

KEY = bytes(range(32))
KNOWN = "VZizbRwG1kJyHoN6mAGlc3ZjLTEMrWNhdGVnb3J5PW1hdGgCp2V4cGxvaXTPAAABmcgswADECDEyMzQ1Njc4"


def make(key: bytes = KEY, service: str = "svc-1", segment: str = "category=math", variant: int = 2) -> str:
    return encode(
        key, service=service, policy_version=12, segment=segment, variant=variant, reason="exploit",
        decided_at=1760000000000, nonce=b"12345678",
    )  # fmt: skip


def test_format_never_changes() -> None:
    assert make(b"k" * 32) == KNOWN
    assert parse(KNOWN) == AssignmentRef(1, "svc-1", 12, "category=math", 2, "exploit", 1760000000000, b"12345678")


@given(st.text(max_size=60), st.text(max_size=300), st.integers(0, 1000))
def test_what_was_written_is_read(service: str, segment: str, variant: int) -> None:
    text = make(service=service, segment=segment, variant=variant)
    ref = verify((KEY,), text)
    assert len(text) <= MAX_ID_LENGTH
    assert ref == parse(text)
    assert (ref.service, ref.variant) == (service, variant)
    assert ref.segment == segment or (ref.segment.startswith("#") and len(ref.segment) == 33)


def test_any_flipped_bit_is_noticed() -> None:
    raw = base64.urlsafe_b64decode(make() + "=" * (-len(make()) % 4))
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidArgument):
            verify((KEY,), base64.urlsafe_b64encode(changed).rstrip(b"=").decode())


def test_another_key_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not issued"):
        verify((b"x" * 32,), make())


@pytest.mark.parametrize("text", ["", "=", "a", "ü" * 30, "A" * 513, make() + "\n", make() + "=", make()[:-2], "AAAA"])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        verify((KEY,), text)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_not_crashed_on(raw: bytes) -> None:
    text = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    with pytest.raises(InvalidArgument):
        verify((KEY,), text)
    with contextlib.suppress(InvalidArgument):
        assert parse(text).format == 1


def test_two_texts_never_name_one_assignment() -> None:
    text = make(service="svc-12")
    assert len(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) % 3 != 0, "there are unused bits at the end"
    twins = [text[:-1] + c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if c != text[-1]]
    for twin in twins:
        with pytest.raises(InvalidArgument):
            verify((KEY,), twin)


def test_service_name_without_room_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="too long"):
        make(service="s" * 400)
    with pytest.raises(ValueError, match="8"):
        encode(KEY, service="s", policy_version=1, segment="", variant=0, reason="fixed", decided_at=0, nonce=b"1")

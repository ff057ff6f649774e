"""Dead letters on disk: kept in order, within the bound, over crashes, and taken once."""

from pathlib import Path

from optimizer.collector.kafka.dead_letters import CURRENT, DeadLetter, DeadLetters


def letter(number: int, value: bytes = b"\xff\x00 any bytes") -> DeadLetter:
    return DeadLetter(
        at=1, reason="because", topic="t", partition=0, offset=number, timestamp_ms=2, key=None, value=value,
        headers={"content-type": b"\xfe"},
    )  # fmt: skip


def test_letters_come_back_as_they_were(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "new")
    letters.add([letter(1), letter(2)])
    letters.add([letter(3)])
    assert list(DeadLetters(tmp_path / "new").read()) == [letter(1), letter(2), letter(3)]


def test_an_empty_or_missing_folder_has_none(tmp_path: Path) -> None:
    assert list(DeadLetters(tmp_path / "none").read()) == []
    assert list(DeadLetters(tmp_path / "none").take()) == []


def test_the_bound_holds_and_the_newest_stay(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path, most_bytes=20_000)
    for number in range(200):
        letters.add([letter(number, b"x" * 300)])
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 20_000
    kept = [each.offset for each in letters.read()]
    assert kept == list(range(kept[0], 200))
    assert len(kept) > 10


def test_a_line_that_a_crash_cut_short_does_not_cost_the_others(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letters.add([letter(1), letter(2)])
    whole = (tmp_path / CURRENT).read_bytes()
    (tmp_path / CURRENT).write_bytes(whole[:-15])
    assert [each.offset for each in letters.read()] == [1]


def test_what_was_taken_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    letters.add([letter(1)])
    assert [each.offset for each in letters.take()] == [1]
    letters.add([letter(2)])  # comes while the first are being replayed
    assert [each.offset for each in letters.read()] == [1, 2]
    letters.forget()
    assert [each.offset for each in letters.read()] == [2]
    letters.take()
    assert [each.offset for each in DeadLetters(tmp_path).take()] == [2]  # a replay that crashed begins again

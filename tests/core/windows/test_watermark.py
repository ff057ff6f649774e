import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.windows import Watermarks
from optimizer.core.windows import watermark as watermark_module
from optimizer.core.windows.values import SECOND
from optimizer.core.windows.watermark import NEVER

moves = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-50, 500), st.integers(0, 40)), min_size=1, max_size=60)


@settings(deadline=None)
@given(moves)
def test_it_never_goes_back_and_never_passes_what_a_speaking_source_may_still_send(
    steps: list[tuple[str, int, int]],
) -> None:
    marks, now, before = Watermarks(), 0, NEVER
    newest: dict[str, int] = {}
    heard: dict[str, int] = {}
    for source, time, wait in steps:
        now += wait * SECOND
        after = marks.observe(source, time * SECOND, now)
        newest[source] = max(newest.get(source, time * SECOND), time * SECOND)
        heard[source] = now
        assert after >= before
        speaking = [newest[s] for s in newest if now - heard[s] < marks.idle]
        assert after == before or after <= min(speaking) - marks.delay
        before = after
        restored = msgspec.msgpack.decode(msgspec.msgpack.encode(marks), type=Watermarks)
        assert restored == marks


def test_a_silent_source_does_not_hold_the_others_up() -> None:
    marks = Watermarks()
    marks.observe("a", 0, 0)
    assert marks.observe("b", 100 * SECOND, SECOND) == -5 * SECOND
    assert marks.observe("b", 200 * SECOND, 61 * SECOND) == 195 * SECOND
    assert marks.observe("a", 10 * SECOND, 62 * SECOND) == 195 * SECOND


def test_when_all_are_silent_time_passes_and_the_last_window_closes() -> None:
    marks = Watermarks()
    marks.observe("a", 1_000 * SECOND, 0)
    assert marks.at(59 * SECOND) == 995 * SECOND
    assert marks.at(60 * SECOND) == 1_055 * SECOND
    assert marks.at(300 * SECOND) == 1_295 * SECOND


def test_sources_are_bounded() -> None:
    marks = Watermarks()
    for i in range(watermark_module.MAX_SOURCES + 10):
        marks.observe(str(i), i, i)
    assert len(marks.sources) == watermark_module.MAX_SOURCES

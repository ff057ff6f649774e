import itertools
import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.core.anomaly import SeriesDetector, SeriesState
from optimizer.core.anomaly.season import DAY, Profile
from optimizer.core.anomaly.series import CALM, LEARNING, QUIET
from optimizer.core.anomaly.shape import NEIGHBOURS, WIDTH, ShapeNovelty

STEP = 300


def alerts(values: list[float], step: int = STEP) -> list[int]:
    detector = SeriesDetector()
    return [i for i, v in enumerate(values) if (f := detector.add(v, i * step)) is not None and f.kind == "anomaly"]


def noise(seed: int, n: int, mean: float = 50.0, sd: float = 5.0) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(mean, sd) for _ in range(n)]


def day(i: int) -> float:
    return 30.0 * math.sin(2 * math.pi * i * STEP / 86_400)


def test_a_level_shift_is_found_within_a_few_points() -> None:
    values = noise(1, 2_000)
    shifted = values[:1_500] + [v + 40 for v in values[1_500:]]
    found = [i for i in alerts(shifted) if i >= 1_500]
    assert found
    assert found[0] < 1_505


def test_a_change_of_the_spread_is_found() -> None:
    values = noise(2, 1_500) + noise(3, 300, sd=25.0)
    assert any(1_500 <= i < 1_530 for i in alerts(values))


def test_noise_that_stops_is_found() -> None:
    values = noise(14, 2_400)
    values[2_000:2_060] = [51.0] * 60
    assert any(2_000 <= i < 2_060 for i in alerts(values))


def test_a_flat_line_in_the_middle_of_a_daily_pattern_is_found() -> None:
    rng = random.Random(4)
    values = [day(i) + rng.gauss(0, 1) for i in range(288 * 12)]
    for i in range(288 * 10 + 40, 288 * 10 + 140):
        values[i] = -5.0 + rng.gauss(0, 1)
    found = alerts(values)
    assert any(288 * 10 + 40 <= i < 288 * 10 + 140 for i in found)


def test_a_peak_that_is_usual_at_that_time_is_not_an_anomaly_once_the_day_is_known() -> None:
    rng = random.Random(5)
    values = [rng.gauss(10, 1) + (60 if 100 <= i % 288 < 112 else 0) for i in range(288 * 14)]
    assert not [i for i in alerts(values) if i >= 288 * 6]


def test_white_noise_rarely_alarms() -> None:
    total = sum(len(alerts(noise(seed, 3_000))) for seed in range(4))
    assert total <= 6  # half an alert in a thousand points


def test_scale_and_offset_do_not_matter() -> None:
    values = noise(6, 1_000) + noise(7, 200, mean=90)
    expected = alerts(values)
    assert expected
    assert alerts([v * 1e-6 for v in values]) == expected
    assert alerts([v * 1024 for v in values]) == expected


def test_a_constant_series_is_quiet_until_it_moves() -> None:
    values = [7.0] * 500 + [8.0] * 50
    found = alerts(values)
    assert found[0] == 500
    assert not alerts([7.0] * 2_000)


def test_one_episode_is_one_alert_and_its_end_is_told() -> None:
    values = noise(8, 800) + noise(9, 60, mean=200) + noise(10, 400)
    detector = SeriesDetector()
    found = [(i, f.kind) for i, v in enumerate(values) if (f := detector.add(v, i * STEP)) is not None]
    episode = [x for x in found if x[0] >= 800]
    assert episode[0] == (800, "anomaly")
    assert [kind for _, kind in episode] == ["anomaly", "recovered"]
    assert episode[1][0] >= 860 + CALM - 1


@given(st.integers(0, 2**32), st.floats(0.01, 0.3))
@settings(max_examples=10, deadline=None)
def test_alerts_keep_the_quiet_period_whatever_comes(seed: int, share: float) -> None:
    rng = random.Random(seed)
    found = alerts([rng.gauss(0, 1) * (1_000 if rng.random() < share else 1) for _ in range(700)])
    assert all(b - a >= QUIET for a, b in itertools.pairwise(found))
    assert all(i + 1 >= LEARNING for i in found)


@pytest.mark.parametrize("cut", [0, 10, 149, 777, 1_304, 1_500])
def test_restore_continues_byte_for_byte(cut: int) -> None:
    rng = random.Random(cut)
    values = [rng.gauss(0, 1) + 8 * (i % 400 > 380) + day(i) + 1e6 for i in range(1_600)]
    straight, first = SeriesDetector(), SeriesDetector()
    expected = [straight.add(v, i * STEP) for i, v in enumerate(values)]
    got = [first.add(v, i * STEP) for i, v in enumerate(values[:cut])]
    encoded = msgspec.msgpack.encode(first.state())
    second = SeriesDetector(msgspec.msgpack.decode(encoded, type=SeriesState))
    assert msgspec.msgpack.encode(second.state()) == encoded
    got += [second.add(v, (cut + i) * STEP) for i, v in enumerate(values[cut:])]
    assert got == expected
    assert msgspec.msgpack.encode(second.state()) == msgspec.msgpack.encode(straight.state())


def test_the_state_of_a_series_stays_small() -> None:
    detector = SeriesDetector()
    for i, v in enumerate(noise(11, 6_000)):
        detector.add(v, i * STEP)
    assert len(msgspec.msgpack.encode(detector.state())) < 22_000


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_the_distance_is_that_to_the_nearest_earlier_stretches(offset: float) -> None:
    rng = np.random.default_rng(12)
    values = rng.normal(offset, 1.0, 1_700)
    shape = ShapeNovelty()
    for i, value in enumerate(values):
        distance = shape.add(float(value))
        if i % 97 == 0 and distance is not None:
            stretches = np.lib.stride_tricks.sliding_window_view(values[: i + 1], WIDTH)
            earlier = stretches[max(0, len(stretches) - WIDTH - 1_000) : len(stretches) - WIDTH]
            squares = np.sort(((earlier - stretches[-1]) ** 2).sum(axis=1))[:NEIGHBOURS]
            assert distance == pytest.approx(math.sqrt(squares.mean()), rel=1e-4)


def test_a_profile_is_used_only_when_the_time_of_day_explains_the_values() -> None:
    rng = random.Random(13)
    seasonal, plain = Profile.of(DAY), Profile.of(DAY)
    level = 0.0
    for i in range(288 * 10):
        level += rng.gauss(0, 1)  # a random walk: yesterday's slots say nothing
        seasonal.shift(day(i) + rng.gauss(0, 3), i * STEP)
        plain.shift(level, i * STEP)
    assert seasonal.used
    assert not plain.used
    assert seasonal.gain() < 0.2

"""The search for reference cycles is calmer while the server runs, and as before afterwards."""

import gc

from optimizer.nurseries.tree import calm_collector


def test_the_collector_is_calm_inside_and_as_before_outside() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with calm_collector():
        inside, kept = gc.get_threshold(), gc.get_freeze_count()
    assert inside[0] > before[0]
    assert kept > frozen
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0

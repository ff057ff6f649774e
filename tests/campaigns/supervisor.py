"""The supervisor against its model, at length: `python -m tests.campaign --part supervisor --seeds 10000`."""

from hypothesis import HealthCheck, given, settings

from tests.nurseries.supervisor_model import CASES, Case, compare


def main(seeds: int) -> int:
    """Compare that many scripts of up to 50 lives; raises with the smallest that differs."""
    lives = [0]

    @settings(max_examples=seeds, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(CASES)
    def check(case: Case) -> None:
        lives[0] += len(case.lives)
        compare(case)

    check()
    print(f"supervisor: {seeds} scripts with {lives[0]} lives, no difference to the model")
    return 0

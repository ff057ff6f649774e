"""The supervisor does exactly what its model says (the long form is the campaign `supervisor`)."""

from hypothesis import given, settings

from tests.nurseries.supervisor_model import CASES, Case, compare


@settings(max_examples=300, deadline=None)
@given(CASES)
def test_the_supervisor_is_its_model(case: Case) -> None:
    compare(case)

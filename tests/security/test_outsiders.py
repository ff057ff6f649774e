"""The short form of the campaign against the pure doors."""

from tests.campaigns import outsiders


def test_tokens_files_and_spans_from_outside() -> None:
    assert outsiders.main(60) == 0

"""3,000 seeded frame sequences: nothing escapes, nothing stays behind."""

from tests.campaigns import frames


def test_3000_sequences_leave_the_port_as_it_was() -> None:
    outcome = frames.run(range(3_000))
    assert outcome.failed == []
    assert {"peer", "violation"} <= outcome.endings  # both kinds of sequences were among them
    assert outcome.calls > 1_000  # and many got beyond the frames

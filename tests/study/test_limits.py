"""When a session stops by the hours that it was given."""

from datetime import timedelta
from pathlib import Path

import pytest

from nightlab.records import utc_now
from nightlab.study.limits import Limits
from tests.session_samples import sample_session
from tests.study.trained import finished


@pytest.mark.parametrize(("worked", "is_over"), [(30, False), (70, True)])
def test_the_hours_between_a_crash_and_a_retry_are_not_the_sessions(
    tmp_path: Path, worked: int, is_over: bool
) -> None:
    """A night that died at two and is retried at nine goes on for the hours that it has left."""
    session = sample_session(tmp_path / "clone")
    settings = {"hours": 1.0, "confirm_replicates": 0}
    session.settings = session.settings.model_copy(update=settings)
    session.proposer.needs_money = False
    died = utc_now() - timedelta(hours=7)
    spans = {
        "session": session.identifier,
        "started_at": died - timedelta(minutes=worked),
        "finished_at": died,
    }
    session.ledger.records = lambda: (finished(1).model_copy(update=spans),)
    assert (Limits(session).reached() is not None) is is_over

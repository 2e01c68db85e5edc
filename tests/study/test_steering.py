"""What a running session hears of a person, in a real repository."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from nightlab.errors import SessionOver
from nightlab.ledger import ask_to_stop, hold_session
from nightlab.records import utc_now
from nightlab.study.steering import require_no_stop, stop_asked
from tests.session_samples import sample_session


def test_a_wish_ends_what_began_before_it_and_not_what_follows(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    with hold_session(session.ledger, None, holder=session.identifier) as hold:
        assert hold.note.pid == os.getpid()
        require_no_stop(session)
        before = utc_now()
        ask_to_stop(session.ledger)
        for session.trials_ended_at in (None, before):
            assert stop_asked(session) is not None
            with pytest.raises(SessionOver, match="`nightlab stop` asked for it on"):
                require_no_stop(session)
        session.trials_ended_at = utc_now() + timedelta(seconds=1)
        require_no_stop(session)
        session.trials_ended_at, session.identifier = None, "another"
        assert stop_asked(session) is None

"""What a running session hears of a person, in a real repository."""

import os
from datetime import timedelta
from pathlib import Path

from nightlab.ledger import ask_to_stop, hold_session
from nightlab.records import utc_now
from nightlab.study.steering import stop_asked_since
from tests.session_samples import sample_session


def test_a_wish_ends_what_began_before_it_and_not_what_follows(tmp_path: Path) -> None:
    session = sample_session(tmp_path / "clone")
    with hold_session(session.ledger, None, holder=session.identifier) as hold:
        assert hold.note.pid == os.getpid()
        began = utc_now()
        assert not stop_asked_since(session, began)
        ask_to_stop(session.ledger)
        assert stop_asked_since(session, began)
        assert not stop_asked_since(session, utc_now() + timedelta(seconds=1))
        session.identifier = "another"
        assert not stop_asked_since(session, began)

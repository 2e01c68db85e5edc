"""``nightlab show`` on a study in the midst of its first trial."""

import json
from pathlib import Path

import pytest

from flows.commands.study import show
from nightlab.errors import UsageError
from nightlab.ledger import Ledger
from nightlab.records import InFlight, Proposal, utc_now


def test_a_trial_in_flight_is_shown(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clone)
    ledger = Ledger(clone, "night")
    start = ledger.create()
    idea = Proposal(title="Deeper", proposer="command", model="agent")
    mark = InFlight(
        study="night", number=0, parent=start, commit=start, proposal=idea, started_at=utc_now()
    )
    ledger.mark(mark)
    show("night", 0)
    shown = capsys.readouterr().out
    assert "Trial 0 of night: Deeper" in shown
    assert "in flight, no verdict yet" in shown
    show("night", 0, as_json=True)
    assert json.loads(capsys.readouterr().out)["proposal"]["model"] == "agent"
    with pytest.raises(UsageError, match="no record of a trial 1"):
        show("night", 1)

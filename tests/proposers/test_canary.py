"""What an endpoint repeats of its key, in every form, is in nothing that is made of its answer."""

import logging
import uuid
from pathlib import Path

import pytest
from pydantic import SecretStr

from flows.keys import read_api_keys
from nightlab import events
from nightlab.errors import ModelError
from nightlab.ledger.documents import evidence_files, to_json
from nightlab.proposers import choose_proposer
from nightlab.records import Evidence, Proposal
from nightlab.report.write import put_page
from nightlab.settings import SessionSettings
from nightlab.tracking.content import describe_trial
from tests.echoing_endpoint import all_forms, echoing_endpoint, needles
from tests.proposers.asking import GOOD
from tests.proposers.trainer_sample import sample_brief
from tests.samples import sample_record
from tests.scripted_endpoint import ScriptedEndpoint

pytestmark = pytest.mark.usefixtures("no_keys")

KEY = f"sk-one?/+{uuid.uuid4().hex}{uuid.uuid4()}"
SOUGHT = needles(KEY)


def is_clean(content: str | bytes) -> bool:
    content = content.encode() if isinstance(content, str) else content
    return not any(each in content for each in SOUGHT)


def test_what_is_sought_is_found_where_nothing_takes_it_out() -> None:
    assert not is_clean(KEY)
    assert all(each in all_forms(KEY).encode() for each in SOUGHT)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_an_endpoint_that_repeats_its_key_in_an_error(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []
    with (
        echoing_endpoint([status]) as (address, keys),
        events.listening(lambda event: heard.append(repr(event))),
    ):
        settings = SessionSettings(
            model="openai/a,openai/b", api_base=address, api_key_secret=f"one={address}"
        )
        proposer = choose_proposer(settings, api_keys={"one": SecretStr(KEY)}).proposer
        with caplog.at_level(logging.DEBUG), pytest.raises(ModelError) as caught:
            proposer.propose(sample_brief())
    assert set(keys) == {KEY}
    assert heard
    for said in (*heard, str(caught.value), repr(caught.value), repr(vars(proposer))):
        assert is_clean(said), said


def test_an_answer_that_repeats_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reads the answer lets the key through here: what writes it down takes it out."""
    monkeypatch.setenv("ONE_API_KEY", f" {KEY}\r\n")
    echo = " ".join(all_forms(KEY).split())
    with ScriptedEndpoint([GOOD.replace("Depth helps.", echo)]) as endpoint:
        settings = SessionSettings(
            model="openai/a", api_base=endpoint.api_base, api_key_secret="env:ONE_API_KEY"
        )
        proposal = choose_proposer(settings).proposer.propose(sample_brief())
        assert endpoint.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert is_clean(proposal.model_dump_json())
    assert "[redacted]" in proposal.hypothesis

    leaky = Proposal(title=KEY, hypothesis=all_forms(KEY), proposer="llm", error=echo)
    record = sample_record(1).model_copy(
        update={"title": KEY, "hypothesis": echo, "log_tail": all_forms(KEY), "note": KEY}
    )
    evidence = Evidence(proposal=leaky, replicates=(), program=all_forms(KEY))
    assert is_clean(to_json(record))
    assert all(map(is_clean, evidence_files(evidence).values()))
    shown = describe_trial(record, evidence, diff=f"+ {echo}", source=f"KEY = {KEY!r}").run
    for text in (*shown.tags.values(), *shown.params.values(), *shown.texts.values()):
        assert is_clean(text), text
    put_page(tmp_path / "page.html", f"<p>{all_forms(KEY)}</p>")
    assert is_clean((tmp_path / "page.html").read_bytes())


def test_logs_and_their_tracebacks(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE_API_KEY", KEY)
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    read_api_keys(None)
    read_api_keys(None)
    logger = logging.getLogger("somebody.else")
    with caplog.at_level(logging.INFO):
        logger.info("Sent %s to %d places: %s", KEY, 2, all_forms(KEY))
        logger.info("Nothing to %s here", "hide")
        try:
            raise ValueError(all_forms(KEY))
        except ValueError:
            logger.exception("It failed")
    assert is_clean(caplog.text)
    assert "Sent [redacted] to 2 places" in caplog.text
    assert "Nothing to hide here" in caplog.text
    assert "ValueError: [redacted]" in caplog.text

"""What others wrote, on all that people look at: it is read there, and does nothing."""

import io
import json
import logging
import queue
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from apprise import Apprise
from apprise.plugins.slack import NotifySlack
from prefect.server.utilities.user_templates import render_user_template_sync
from rich.segment import Segment

from flows.approval import _question
from flows.keys import _GuardingFactory
from flows.live import LiveView, PlainView
from flows.naming import name_of_trial
from flows.printing import print_mark, print_study, print_trial, study_table
from flows.session_page import session_markdown
from flows.terminal import Terminal
from nightlab import events
from nightlab.errors import ModelError
from nightlab.ledger import StudySummary, results_tsv
from nightlab.records import InFlight, Proposal, Suggestion, TrialRecord, Verdict, utc_now
from nightlab.report.page import render_page
from nightlab.report.picture import render_picture
from nightlab.report.study import read_study
from nightlab.study.model_folder import write_card
from nightlab.tracking.content import describe_trial
from tests.conftest import ROOT, git, nightlab_command, nightlab_environment
from tests.flows.test_notifying import listening
from tests.hostile_texts import HONEST, HOSTILE
from tests.kept_samples import champion
from tests.report.samples import FixedStudy, baseline, trial
from tests.report.test_page import Elements
from tests.session_samples import sample_session
from tests.test_shown import steers, structure
from tests.tracking.samples import evidence

EVERY = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
PLAIN = "word"


def written_by(text: str) -> TrialRecord:
    """A kept trial, all of whose texts somebody else wrote."""
    record = trial(1, Verdict.KEEP, (1.9, 1.91), difference=-0.1, log_tail=text)
    decision = record.decision.model_copy(update={"sentence": text})
    texts = ("title", "hypothesis", "note", "device", "host", "corpus", "model", "engine_version")
    replicates = tuple(
        each.model_copy(update={"place": text, "training": _said(each.training, text)})
        for each in record.replicates
    )
    changes = {**dict.fromkeys(texts, text), "decision": decision, "replicates": replicates}
    return record.model_copy(update={**changes, "settings": {"program": text, "preset": text}})


def _said(training: Any, text: str) -> Any:
    return training.model_copy(update={"message": text, "log": text})


def mark(text: str) -> InFlight:
    idea = Proposal(title=text, hypothesis=text, proposer=text, model=text)
    names = {"study": "night", "number": 4, "parent": "a" * 40, "commit": "b" * 40}
    return InFlight(**names, proposal=idea, started_at=utc_now())


def live(console: Terminal, text: str) -> None:
    view = LiveView("night", (written_by(text),))
    begun = events.StepBegun(study="night", number=1, step=text, title=text, detail=text, seed=7)
    view.listen(begun)
    view.listen(events.Notice(text=text))
    console.print(view)
    plain = PlainView(console)
    for event in (begun, events.Notice(text=text), events.TrialEnded(record=written_by(text))):
        plain.listen(event)


def summary(text: str) -> StudySummary:
    known = {"trials": 1, "verdicts": dict.fromkeys(Verdict, 0), "inflight": ()}
    return StudySummary.model_construct(study=text, baseline_bpb=None, incumbent_bpb=None, **known)


def status(console: Terminal, text: str) -> None:
    with console.status(text):
        pass


ON_A_TERMINAL: dict[str, Callable[[Terminal, str], None]] = {
    "show TRIAL": lambda console, text: print_trial(
        console, written_by(text), f"+{text}", [suggestion(text)], [text]
    ),
    "show a trial in flight": lambda console, text: print_mark(console, mark(text), f"+{text}"),
    "show": lambda console, text: print_study(console, "night", [baseline(), written_by(text)]),
    "studies": lambda console, text: console.print(study_table([summary(text)])),
    "the live view": live,
    "a spinner": status,
    "an error": lambda console, text: console.say(f"nightlab: {ModelError(text)}", "red"),
}


def suggestion(text: str) -> Suggestion:
    return Suggestion(study="night", name="1", text=text, made_at=utc_now())


@EVERY
@pytest.mark.parametrize("place", ON_A_TERMINAL)
def test_nothing_steers_the_terminal(place: str, text: str) -> None:
    out = io.StringIO()
    ON_A_TERMINAL[place](Terminal(out, width=160), text)
    assert steers(out.getvalue()) == []
    drawn = io.StringIO()
    colours = Terminal(drawn, width=160, force_terminal=True, color_system="truecolor", record=True)
    ON_A_TERMINAL[place](colours, text)
    recorded: list[Segment] = colours._record_buffer
    assert [each.text for each in recorded if not each.control and steers(each.text)] == []
    assert all(each.style is None or each.style.link is None for each in recorded)
    assert "\x1b]" not in drawn.getvalue()
    assert "\x9b" not in drawn.getvalue()


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_stands_on_the_terminal_as_it_is(text: str) -> None:
    out = io.StringIO()
    print_trial(Terminal(out, width=160), written_by(text), f"+{text}")
    assert text.splitlines()[0] in out.getvalue()
    assert "\\" not in out.getvalue()


def questions(text: str, folder: Path) -> str:
    class Diffs:
        def diff(self, record: TrialRecord) -> str:
            return f"+{text}"

    return _question(Diffs(), written_by(text))  # type: ignore[arg-type]


AS_MARKDOWN: dict[str, Callable[[str], str]] = {
    "a session's page": lambda text: session_markdown(
        read_study(FixedStudy(all_records=[baseline(), written_by(text)])), "http://127.0.0.1:5000"
    ),
    "a trial's note": lambda text: _notes(text)[0],
    "a training's note": lambda text: _notes(text)[1],
    "a model's card": lambda text: write_card(champion(title=text), written_by(text)),
    "the question": lambda text: questions(text, ROOT),
}


def _notes(text: str) -> tuple[str, str]:
    content = describe_trial(written_by(text), evidence(), f"+{text}", text)
    light = evidence().model_copy(update={"replicates": ()})
    first = describe_trial(written_by(text), light, "", "")
    (replicate, *_) = first.replicates.values()
    return content.run.tags["mlflow.note.content"], replicate.tags["mlflow.note.content"]


@EVERY
@pytest.mark.parametrize("place", AS_MARKDOWN)
def test_markdown_has_no_other_parts_than_with_a_plain_word(place: str, text: str) -> None:
    found = structure(AS_MARKDOWN[place](text))
    expected = structure(AS_MARKDOWN[place](PLAIN))
    if "`nightlab " in text:  # its beginning is set as the command that it is
        found, expected = ([x for x in each if x != "code_inline"] for each in (found, expected))
    assert found == expected
    assert steers(AS_MARKDOWN[place](text)) == []


@EVERY
def test_a_page_has_no_other_elements_than_with_a_plain_word(text: str) -> None:
    def parts(said: str) -> tuple[list[str], set[str]]:
        study = read_study(FixedStudy(study=said, all_records=[baseline(), written_by(said)]))
        page = render_page(study, {1: f"+{said}".replace("\n", " ")})
        elements = Elements()
        elements.feed(page)
        elements.feed(render_picture(study))
        elements.close()
        assert steers(page) == []
        names = [name for name in elements.names if name != "code"]
        return names, {name for name, _ in elements.attributes}

    assert parts(text) == parts(PLAIN)


@EVERY
def test_a_table_for_spreadsheets_keeps_its_cells_and_holds_no_formula(text: str) -> None:
    table = results_tsv([written_by(text)])
    assert table.count("\n") == 2
    cells = table.splitlines()[1].split("\t")
    assert len(cells) == 5
    assert not cells[-1].startswith(("=", "+", "-", "@"))
    assert steers(table) == []


@EVERY
def test_logs_names_and_commit_messages_steer_nothing(text: str) -> None:
    make = _GuardingFactory(logging.LogRecord)
    record = make("x", logging.INFO, "f", 1, "Trial %d: %s", (1, text), None)
    assert steers(logging.Formatter().format(record)) == []
    try:
        raise ValueError(text)
    except ValueError as error:
        known = (type(error), error, error.__traceback__)
    record = make("x", logging.ERROR, "f", 1, "failed", (), known)
    assert steers(logging.Formatter().format(record)) == []
    assert steers(name_of_trial(3, text)) == []
    assert steers(str(ModelError(text))) == []


def test_what_git_log_shows_of_a_candidate_steers_nothing(tmp_path: Path) -> None:
    ledger = sample_session(tmp_path / "clone").ledger
    start = ledger.incumbent()
    for text in HOSTILE.values():
        commit = ledger.write_candidate(start, f"{ledger.source(start)}\n# x\n", text, text)
        assert steers(git(ledger.root, "log", "-1", "--format=%B", commit)) == []


class Slack(BaseHTTPRequestHandler):
    """Takes what is posted, as Slack does."""

    heard: "queue.Queue[str]"

    def do_POST(self) -> None:
        self.heard.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_slack_calls_nobody_and_links_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    written = yaml.safe_load((ROOT / "automations.yaml").read_text(encoding="utf-8"))
    actions = {each["block_document_id"]: each for each in written["automations"][0]["actions"]}
    page = "http://127.0.0.1:5000/#/experiments/1"
    with listening(ThreadingHTTPServer, Slack) as (address, heard):
        monkeypatch.setattr(NotifySlack, "webhook_url", f"http://{address}")
        for text in HOSTILE.values():
            payload = {"sentence": str(ModelError(text)), "links": {"mlflow": page}}
            known = {"event": {"payload": payload}}
            body = render_user_template_sync(actions["nightlab-slack"]["body"], known)
            assert Apprise.instantiate("https://hooks.slack.com/services/T1/B1/x").notify(body)
            (said,) = json.loads(heard.get(timeout=30))["attachments"]
            assert page in said["text"]
            assert "<" not in said["text"]
            assert "://" not in said["text"].replace(page, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "\x1b]0;owned\x07\u202e\x9b1m"),
        ("\x1b]0;owned\x07\x9b1m",),
        ("show", "--\x1b]0;owned\x07\x9b1m"),
        ("show", "night", "\x1b]0;owned\x07\x9b1m"),
        ("research", "--study", "\x1b[2J\x9b1m"),
        ("notify", "https://\x1b[2J\x9b1m"),
        ("sample", "night", "x", "--device", "\x1b[2J\x9b1m"),
    ],
)
def test_an_argument_that_is_quoted_steers_nothing(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        nightlab_command(*arguments),
        cwd=ROOT,
        env=nightlab_environment(tmp_path),
        capture_output=True,
        check=False,
    )
    assert done.returncode
    said = (done.stdout + done.stderr).decode()
    assert said
    assert steers(said) == []

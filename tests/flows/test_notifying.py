"""Who is told: the automations on a real server, a webhook and a mail server that listen here."""

import email
import json
import queue
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.notifying import FILE, _automations, _block_for, notify
from flows.telling import News
from nightlab.errors import UsageError
from tests.conftest import ROOT, expect_success, nightlab_environment, run_nightlab

NIGHT = """
import os, sys
from prefect import flow
from flows.naming import label_run
from flows.telling import News, ended, tell, tell_failed
from nightlab.errors import UsageError

@flow(name="research", flow_run_name="night 2026-11-30", on_failure=[tell_failed])
def night(study: str, end: str) -> int:
    tell(News.KEPT, study, "Trial 3 is kept.", gain_bpb=0.25, trial=3, title='Deeper "still"')
    tell(News.AWAITS_APPROVAL, study, "Trial 3 waits for your word.", trial=3)
    if end == "failed":
        raise UsageError("Mend that.")
    return ended(study, 7, "0.2500 fewer.", gain_bpb=0.25, link="http://127.0.0.1/mlflow")

if sys.argv[1] == "failed":
    night("night", "failed", return_state=True)
else:
    assert night("night", "ended") == 7
"""


@contextmanager
def listening(
    server: type[socketserver.TCPServer], handler: Any
) -> Iterator[tuple[str, "queue.Queue[Any]"]]:
    """A server on loopback for a block: where it listens, and what it hears."""
    heard: queue.Queue[Any] = queue.Queue()
    kind = type("Handler", (handler,), {"heard": heard})
    with server(("127.0.0.1", 0), kind) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_address[1]}", heard
        running.shutdown()


class Webhook(BaseHTTPRequestHandler):
    """Takes what is posted, as JSON."""

    heard: "queue.Queue[Any]"

    def do_POST(self) -> None:
        self.heard.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Mail(socketserver.StreamRequestHandler):
    """Takes one letter, as a mail server does."""

    heard: "queue.Queue[Any]"

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        letter: list[str] | None = None
        for line in map(bytes.decode, self.rfile):
            if letter is None:
                letter = [] if line.upper().startswith("DATA") else None
                self.wfile.write(b"354 go on\r\n" if letter is not None else b"250 fine\r\n")
            elif line == ".\r\n":
                self.heard.put(email.message_from_string("".join(letter)))
                letter = None
                self.wfile.write(b"250 taken\r\n")
            else:
                letter.append(line)


@pytest.mark.slow
def test_a_webhook_and_a_letter_tell_of_keeps_of_ends_and_of_crashes(
    prefect_api: dict[str, str], shared_cache: Path, tmp_path: Path
) -> None:
    environment = nightlab_environment(shared_cache, prefect_api)
    web, mail = listening(ThreadingHTTPServer, Webhook), listening(socketserver.TCPServer, Mail)
    with web as (hook, posted), mail as (post, letters):
        letter = f"mailto://{post}/?from=lab@localhost.org&to=ada@localhost.org&mode=insecure"
        for address in (f"http://{hook}/told", letter, f"http://{hook}/told"):
            said = expect_success(
                run_nightlab(ROOT, shared_cache, "notify", address, extra=prefect_api)
            )
        assert "a change was kept" in said
        assert len(_server(prefect_api, "automations/filter")) == 5, "none stands twice"
        for end in ("ended", "failed"):
            subprocess.run(
                [sys.executable, "-c", NIGHT, end], cwd=ROOT, env=environment, check=True
            )
        _crash(prefect_api)
        told = [posted.get(timeout=60) for _ in range(7)]
        written = [letters.get(timeout=60) for _ in range(7)]
    assert posted.empty()
    by_event: dict[str, dict[str, Any]] = {each["event"]: each for each in told}
    assert set(by_event) == {*News, "prefect.flow-run.Crashed"}
    kept = by_event[News.KEPT]
    assert (kept["trial"], kept["gain_bpb"], kept["title"]) == (3, 0.25, 'Deeper "still"')
    assert "/runs/flow-run/" in kept["links"]["prefect"]
    assert by_event[News.ENDED]["sentence"] == "Study night: 0.2500 fewer."
    assert by_event[News.ENDED]["links"]["mlflow"] == "http://127.0.0.1/mlflow"
    failed = "Study night: night 2026-11-30 failed: Mend that."
    assert by_event[News.FAILED]["sentence"] == failed
    crashed = by_event["prefect.flow-run.Crashed"]
    assert (crashed["study"], crashed["sentence"]) == ("night", "a night crashed: No power.")
    assert {letter.get_content_type() for letter in written} == {"text/plain"}
    texts = {each["Subject"]: each.get_payload(decode=True).decode() for each in written}
    assert set(texts) == {"Nightlab: study night", "Nightlab: a night crashed"}
    assert texts["Nightlab: a night crashed"].splitlines()[0] == "a night crashed: No power."


def _crash(api: dict[str, str]) -> None:
    """A run that is killed, as Prefect's worker tells of it; and one that is none of Nightlab's."""
    flow = _server(api, "flows/", name="research")["id"]
    for tags in (["nightlab"], []):
        run = {"flow_id": flow, "name": "a night", "tags": tags, "parameters": {"study": "night"}}
        identifier = _server(api, "flow_runs/", **run)["id"]
        for state in ("RUNNING", "CRASHED"):
            wanted = {"type": state, "message": "No power."}
            _server(api, f"flow_runs/{identifier}/set_state", state=wanted)


def _server(api: dict[str, str], path: str, **content: Any) -> Any:
    answer = httpx.post(f"{api['PREFECT_API_URL']}/{path}", json=content, timeout=30)
    return answer.raise_for_status().json()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://example.org/told?key=1", "nightlab-webhook"),
        ("https://hooks.slack.com/services/T1/B1/x", "nightlab-slack"),
        ("mailtos://ada:secret@example.org?to=me@example.org", "nightlab-email"),
    ],
)
def test_an_address_says_what_it_is(address: str, name: str) -> None:
    assert _block_for(address)[0] == name


@pytest.mark.parametrize(
    "address",
    ["", "me@example.org", "mailto://me", "https://", "https://hooks.slack.com/", "ftp://x.org"],
)
def test_what_is_no_address_is_refused_and_not_quoted(address: str) -> None:
    with pytest.raises(UsageError, match=r"mailtos://MAILHOST\?user=USER") as refusal:
        _block_for(address)
    assert not address or f"'{address}'" not in str(refusal.value)


def test_without_a_server_nobody_can_be_told() -> None:
    nowhere, refused = temporary_settings({PREFECT_API_URL: None}), pytest.raises(UsageError)
    with nowhere, refused as refusal:
        notify("https://example.org/told", ROOT)
    assert "export PREFECT_API_URL" in str(refusal.value)


def test_every_kind_of_news_has_an_automation_and_each_place_all_of_them() -> None:
    block = "00000000-0000-0000-0000-000000000001"
    places = ("nightlab-webhook", "nightlab-slack", "nightlab-email")
    whole = _automations(ROOT, dict.fromkeys(places, block))
    expected = {name for each in whole for name in each.trigger.expect}  # type: ignore[union-attr]
    assert expected == {*News, "prefect.flow-run.Crashed"}
    assert {len(each.actions) for each in whole} == {3}
    assert {len(each.actions) for each in _automations(ROOT, {places[1]: block})} == {1}


@pytest.mark.parametrize("content", ["automations: 3", "[", "automations: [{name: x}]", "{}"])
def test_a_file_that_was_edited_wrongly_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=f"git checkout {FILE}"):
        _automations(tmp_path, {})


def test_the_file_is_what_prefects_own_command_takes() -> None:
    written = yaml.safe_load((ROOT / FILE).read_text(encoding="utf-8"))
    assert list(written) == ["automations"]

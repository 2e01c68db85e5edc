"""A study's page while a session works."""

import io
import re
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.live_page import LivePage, live_page
from flows.terminal import Terminal
from nightlab import events
from nightlab.records import CurvePoint, Evidence, Pair, Proposal, Reason, TrialRecord, Verdict
from nightlab.report import write_report
from tests.report.samples import FixedStudy, baseline, trial


class FakeLedger(FixedStudy):
    """A ledger in memory, with the curves of the baseline."""

    root = Path()
    curve = tuple(CurvePoint(seconds=float(n), step=n, loss=9.0 - n) for n in range(5))

    def evidence(self, number: int) -> Evidence:
        full = tuple(
            each.model_copy(
                update={"training": each.training.model_copy(update={"curve": self.curve})}
            )
            for each in self.all_records[number].replicates
        )
        return Evidence(proposal=Proposal(title="", proposer="baseline"), replicates=full)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.live_page.EVERY_SECONDS", 0.02)
    monkeypatch.setattr("flows.live_page.MOST_SHARE", 0.5)
    monkeypatch.setattr("flows.live_page.confirmations", lambda _: ())
    monkeypatch.setattr("flows.live_page.Ledger", lambda _root, _study: FakeLedger())


def kept(number: int = 1) -> TrialRecord:
    return trial(number, Verdict.KEEP, (1.9,), difference=-0.1, title="Deeper")


def step(name: str, number: int | None = 1, seed: int | None = None) -> events.StepBegun:
    return events.StepBegun(
        study="first-light", number=number, step=name, title="An idea", seed=seed
    )


def training(page: LivePage, seed: int) -> None:
    page.listen(step("train", seed=seed))
    gate = events.GateOpened(study="first-light", number=1, seed=seed, budget_seconds=10)
    page.listen(gate)
    for point in FakeLedger.curve:
        page.listen(events.Trained(study="first-light", number=1, seed=seed, point=point))


def text_of(folder: Path) -> str:
    return (folder / "first-light.html").read_text()


def soon(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def test_the_page_follows_the_trial_and_ends_as_a_report(tmp_path: Path) -> None:
    ledger = FakeLedger(all_records=[baseline()])
    page = LivePage(ledger, tmp_path)  # type: ignore[arg-type]
    page.begin()
    assert "the session begins" in text_of(tmp_path)
    training(page, seed=0)
    # The baseline's seed: its curve, from an earlier session, is drawn beside this one.
    soon(lambda: 'class="curve own"' in text_of(tmp_path))
    assert 'class="curve twin"' in text_of(tmp_path)
    pair = Pair(seed=0, candidate_bpb=1.9, incumbent_bpb=2.0)
    told = events.PairsMeasured(
        study="first-light", number=1, pairs=(pair,), probability_better=0.91
    )
    page.listen(told)
    soon(lambda: "Chance that it is better: <b>91 %</b>" in text_of(tmp_path))
    ledger.all_records.append(kept())
    page.listen(events.TrialEnded(record=kept()))
    soon(lambda: "From 2.0000 to 1.9000" in text_of(tmp_path))
    page.close()
    assert "under-way" not in re.sub(r"<style>.*</style>", "", text_of(tmp_path), flags=re.DOTALL)
    assert "<script" not in text_of(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["first-light.html"]


def test_a_reader_never_finds_half_a_page(tmp_path: Path) -> None:
    page = LivePage(FakeLedger(all_records=[baseline()]), tmp_path)  # type: ignore[arg-type]
    page.begin()
    ends: set[str] = set()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        page.listen(step("propose"))
        ends.add(text_of(tmp_path).rstrip()[-7:])
    page.close()
    assert ends == {"</html>"}


def test_the_report_at_the_end_is_not_written_over(tmp_path: Path) -> None:
    ledger = FakeLedger(all_records=[baseline(), kept()])
    page = LivePage(ledger, tmp_path)  # type: ignore[arg-type]
    with events.listening(page.listen):
        page.begin()
        page.listen(step("record"))
        write_report(ledger, tmp_path)
        report = text_of(tmp_path)
        page.listen(events.Notice(text="Something more."))
        time.sleep(0.2)
        assert text_of(tmp_path) == report
        page.close()
    assert text_of(tmp_path) == report


def test_what_cannot_be_drawn_is_said_once_and_ends_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    said: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Notice):
            said.append(event.text)

    page = LivePage(FakeLedger(all_records=[baseline()]), blocked)  # type: ignore[arg-type]
    with events.listening(listen), events.listening(page.listen):
        page.begin()
        for _ in range(5):
            events.publish(step("propose"))
            time.sleep(0.03)
        page.close()
    assert len(said) == 1
    assert "is not renewed any more" in said[0]


def test_a_page_on_which_nothing_happens_says_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.live_page.LATEST_SECONDS", 0.1)
    page = LivePage(FakeLedger(all_records=[baseline()]), tmp_path)  # type: ignore[arg-type]
    page.begin()
    first = (tmp_path / "first-light.html").stat().st_mtime_ns
    soon(lambda: (tmp_path / "first-light.html").stat().st_mtime_ns > first)
    page.close()


def test_a_dear_drawing_is_made_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.live_page.MOST_SHARE", 0.02)
    page = LivePage(FakeLedger(all_records=[baseline()]), tmp_path)  # type: ignore[arg-type]
    drawn = []

    def dear(*, is_last: bool) -> None:
        drawn.append(is_last)
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            page.listen(step("propose"))

    monkeypatch.setattr(page, "_write", dear)
    page.begin()
    time.sleep(1.5)
    page.close()
    # A second for each, after the first two.
    assert drawn.count(False) <= 4


def test_the_address_is_said_and_serves_the_page(tmp_path: Path) -> None:
    out = Terminal(io.StringIO(), width=200, record=True)
    with live_page(out, FakeLedger(), tmp_path):  # type: ignore[arg-type]
        said = out.export_text(clear=False)
        found = re.search(r"http://127\.0\.0\.1:\d+/first-light\.html", said)
        assert found is not None
        with urllib.request.urlopen(found[0], timeout=10) as answer:
            assert b"Under way" in answer.read()
        threading.Timer(0.2, lambda: urllib.request.urlopen(found[0], timeout=10).close()).start()
    assert "<script" not in text_of(tmp_path)
    assert str(tmp_path / "first-light.html") in said


def test_without_a_port_there_is_still_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no port")

    monkeypatch.setattr("flows.live_page.PageServer", refuse)
    out = Terminal(io.StringIO(), width=200, record=True)
    with live_page(out, FakeLedger(), tmp_path):  # type: ignore[arg-type]
        pass
    assert f"Page: {tmp_path / 'first-light.html'}" in out.export_text()


def test_an_interrupted_session_leaves_a_page_that_claims_no_work(tmp_path: Path) -> None:
    def interrupted() -> None:
        out = Terminal(io.StringIO())
        with live_page(out, FakeLedger(), tmp_path):  # type: ignore[arg-type]
            events.publish(step("train", seed=1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "Under way" not in text_of(tmp_path)


def test_a_crash_is_shown_as_soon_as_it_is_recorded(tmp_path: Path) -> None:
    ledger = FakeLedger(all_records=[baseline()])
    page = LivePage(ledger, tmp_path)  # type: ignore[arg-type]
    page.begin()
    crash = trial(1, Verdict.CRASH, reason=Reason.OOM)
    ledger.all_records.append(crash)
    page.listen(events.TrialEnded(record=crash))
    soon(lambda: '<tr class="crash">' in text_of(tmp_path))
    page.close()

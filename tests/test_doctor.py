import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from nightlab import doctor
from nightlab.doctor import Finding, Outcome, examine, healthy, print_findings
from nightlab.records import Escape
from nightlab.sandbox import ladder
from nightlab.sandbox.attempts.program import ATTEMPTS
from nightlab.sandbox.bubblewrap import BubblewrapSandbox
from nightlab.settings import Places
from tests.conftest import ROOT
from tests.scripted_endpoint import Failure, ScriptedEndpoint

WIDTH = 100


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places.find(ROOT, {"NIGHTLAB_CACHE": str(tmp_path)})


def sandbox_finding(places: Places) -> Finding:
    return next(finding for finding in examine(places) if finding.name == "sandbox")


def printed(findings: list[Finding]) -> str:
    console = Console(width=WIDTH, force_terminal=False)
    with console.capture() as capture:
        print_findings(console, findings)
    return capture.get()


@pytest.fixture
def only_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other checks cost seconds and are not the subject here."""
    for name in ("_device", "_mlflow", "_prefect", "_git"):
        monkeypatch.setattr(
            doctor, name, lambda *_: Finding(name="other", outcome=Outcome.GOOD, found="")
        )


@pytest.mark.usefixtures("only_the_sandbox")
def test_every_escape_is_shown_with_what_came_of_it(places: Places) -> None:
    finding = sandbox_finding(places)
    assert finding.outcome is Outcome.GOOD
    said = f"rung 1 bubblewrap: {len(ATTEMPTS)} of {len(ATTEMPTS)} escapes held"
    assert finding.found.splitlines()[0] == said
    text = printed([finding])
    for name, _ in ATTEMPTS:
        assert f"  {name} " in text
    table = text.partition("hostile candidate")[2]
    assert table.count(" held ") == len(ATTEMPTS)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert json.loads(finding.model_dump_json())["escapes"][0]["held"] is True


@pytest.mark.usefixtures("only_the_sandbox")
def test_a_weaker_rung_comes_with_the_reason_and_the_remedy(
    places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken() -> BubblewrapSandbox:
        program = tmp_path / "bwrap"
        program.write_text("#!/bin/sh\necho 'bwrap: no permission for a proc'\nexit 1\n")
        program.chmod(0o755)
        sandbox = BubblewrapSandbox()
        monkeypatch.setattr(sandbox, "_program", program)
        return sandbox

    monkeypatch.setattr(
        ladder, "RUNGS", {"1": broken, "1n": lambda: BubblewrapSandbox(fresh_proc=False)}
    )
    finding = sandbox_finding(places)
    assert finding.outcome is Outcome.OPTIONAL
    assert "rung 1n bubblewrap" in finding.found
    assert "rung 1 was not taken" in finding.found
    assert "no permission for a proc" in finding.found
    assert "unprivileged user namespaces" in finding.remedy
    monkeypatch.setattr(ladder, "RUNGS", {"1": broken})
    finding = sandbox_finding(places)
    assert finding.outcome is Outcome.BAD
    assert "--trust-candidate" in finding.found
    assert not healthy([finding])


def test_a_missing_compiler_is_told_with_what_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "prepare_library", lambda: SimpleNamespace(has_compiler=False))
    finding = doctor._compiler()
    assert finding.outcome is Outcome.OPTIONAL
    assert "apt install g++" in finding.remedy
    monkeypatch.setattr(doctor, "prepare_library", lambda: SimpleNamespace(has_compiler=True))
    assert doctor._compiler().outcome is Outcome.GOOD


def test_what_got_through_stands_out() -> None:
    escapes = (
        Escape(name="see a file outside", held=False, detail="7 bytes"),
        Escape(name="signal the engine", held=True, detail="No such process"),
    )
    finding = Finding(name="sandbox", outcome=Outcome.OPTIONAL, found="", escapes=escapes)
    lines = [" ".join(line.split()) for line in printed([finding]).splitlines()]
    assert "see a file outside got through 7 bytes" in lines
    assert "signal the engine held No such process" in lines


@pytest.mark.usefixtures("only_the_sandbox")
def test_each_of_several_models_is_tried(places: Places) -> None:
    with ScriptedEndpoint(["ready"]) as good, ScriptedEndpoint([Failure(401, "bad key")]) as bad:
        names = f"openai/one@{good.api_base},openai/two@{bad.api_base}"
        found = [each for each in examine(places, model=names) if each.name == "model"]
    assert [each.outcome for each in found] == [Outcome.GOOD, Outcome.BAD]
    assert found[0].found == "openai/one answered: ready"
    assert "bad key" in found[1].found

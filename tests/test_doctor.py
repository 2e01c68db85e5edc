import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from rich.console import Console

from nightlab import doctor
from nightlab.doctor import Finding, Outcome, examine, healthy, print_findings
from nightlab.errors import MachineryError
from nightlab.machine.network import CERTIFICATE_FILES, PROXIES
from nightlab.records import Escape
from nightlab.sandbox import ladder
from nightlab.sandbox.attempts.program import ATTEMPTS
from nightlab.sandbox.bubblewrap import BubblewrapSandbox
from nightlab.settings import Places
from tests.conftest import ROOT, git
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


def test_addresses_are_shown_without_their_passwords(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_device", "_sandbox", "_git"):
        monkeypatch.setattr(doctor, name, lambda *_: Finding(name="x", outcome="good", found="x"))
    monkeypatch.setenv("PREFECT_API_URL", "http://me:p/w@127.0.0.1:9/api")
    uri = "http://me:pw@127.0.0.1:9?password=hush"
    found = examine(places.model_copy(update={"tracking_uri": uri}))
    said = printed(found) + "".join(each.model_dump_json() for each in found)
    assert "http://127.0.0.1:9" in said
    for secret in ("me:", "pw", "p/w", "hush"):
        assert secret not in said


@pytest.mark.usefixtures("only_the_sandbox")
def test_a_model_is_tried_with_the_key_that_is_named_for_it(places: Places) -> None:
    with ScriptedEndpoint(["ready"]) as one, ScriptedEndpoint(["ready"]) as two:
        names = f"openai/one@{one.api_base},openai/two@{two.api_base}"
        keys = {one.api_base: SecretStr("sk-0123456789")}
        examine(places, model=names, keys=keys)
        assert one.requests[0].headers["authorization"] == "Bearer sk-0123456789"
        assert "0123456789" not in two.requests[0].headers["authorization"]


@pytest.mark.usefixtures("only_the_sandbox")
def test_a_variable_that_holds_no_key_is_said(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "\u201csk-0123456789\u201d")
    (found,) = (each for each in examine(places, model="openai/x") if each.name == "model")
    assert found.outcome is Outcome.BAD
    assert "the variable OPENAI_API_KEY" in found.found
    assert "0123456789" not in found.found


@pytest.mark.usefixtures("only_the_sandbox")
def test_each_of_several_models_is_tried(places: Places) -> None:
    with ScriptedEndpoint(["ready"]) as good, ScriptedEndpoint([Failure(401, "bad key")]) as bad:
        names = f"openai/one@{good.api_base},openai/two@{bad.api_base}"
        found = [each for each in examine(places, model=names) if each.name == "model"]
    assert [each.outcome for each in found] == [Outcome.GOOD, Outcome.BAD]
    assert found[0].found == f"openai/one at {good.api_base} answered: ready"
    assert "bad key" in found[1].found


@pytest.mark.usefixtures("only_the_sandbox")
def test_an_address_that_a_variable_puts_in_force_is_shown_without_its_password(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    with ScriptedEndpoint(["ready"]) as there:
        address = there.api_base.replace("://", "://me:canary-word@")
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        (found,) = (each for each in examine(places, model="openai/x") if each.name == "model")
    assert found.found == f"openai/x at {there.api_base} (OPENAI_BASE_URL) answered: ready"


def found_by(check: Callable[[], Finding]) -> Finding:
    """What the doctor says of one check, an error of it included."""
    return doctor.tried("checked", check)


def test_a_clone_of_another_owner_comes_with_gits_own_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    git(tmp_path, "init", "-q")
    for variable in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(variable, os.devnull)
    places = Places(root=tmp_path, cache=tmp_path, tracking_uri="", mlruns=tmp_path)
    assert found_by(lambda: doctor._git(places)).outcome is Outcome.GOOD
    for path in (tmp_path, tmp_path / ".git"):
        os.chown(path, 12_345, 12_345)
    finding = found_by(lambda: doctor._git(places))
    assert finding.outcome is Outcome.BAD
    assert "safe.directory" in finding.found


def test_proxies_and_certificates_have_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *map(str.lower, PROXIES), *CERTIFICATE_FILES):
        monkeypatch.delenv(name, raising=False)
    assert doctor._network().found == "no proxy"
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    finding = doctor._network()
    assert finding.outcome is Outcome.GOOD
    assert finding.found == "HTTPS_PROXY for other machines, never for loopback"
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1")
    finding = doctor._network()
    assert finding.outcome is Outcome.BAD
    assert [line.partition(" names")[0] for line in finding.found.splitlines()] == [
        "SSL_CERT_FILE",
        "The proxy that HTTP_PROXY",
    ]


def test_a_time_zone_without_a_name_is_needed_by_schedules_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "UTC-3")
    finding = doctor._time_zone()
    assert finding.outcome is Outcome.OPTIONAL
    assert "TZ='UTC-3'" in finding.found


def test_a_cache_that_cannot_be_written_and_a_disk_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    inside = tmp_path / "file" / "cache"
    places = Places(root=tmp_path, cache=inside, tracking_uri="", mlruns=tmp_path)
    finding = found_by(lambda: doctor._cache(places))
    assert finding.outcome is Outcome.BAD
    assert "set NIGHTLAB_CACHE" in finding.found
    assert str(inside) in doctor._disk(places).found


def test_a_damaged_store_is_not_called_good(tmp_path: Path) -> None:
    mlruns = tmp_path / "mlruns"
    uri = f"sqlite:///{mlruns / 'mlflow.db'}"
    places = Places(root=tmp_path, cache=tmp_path, tracking_uri=uri, mlruns=mlruns)
    assert found_by(lambda: doctor._mlflow(places)).outcome is Outcome.GOOD
    assert list(mlruns.iterdir()) == [], "a session makes it"
    (mlruns / "mlflow.db").write_text("no database")
    finding = found_by(lambda: doctor._mlflow(places))
    assert finding.outcome is Outcome.BAD
    assert f"move {mlruns / 'mlflow.db'} away" in finding.found


def test_what_flows_say_of_prefect_has_a_line() -> None:
    def dead() -> str:
        raise MachineryError("Prefect's server does not answer.")

    assert found_by(lambda: doctor._prefect(lambda: "it answers")).found == "it answers"
    assert found_by(lambda: doctor._prefect(dead)).outcome is Outcome.BAD


def test_a_refusal_of_the_system_does_not_end_the_doctor() -> None:
    def refused() -> Finding:
        raise PermissionError(13, "Permission denied", "/home/other")

    finding = found_by(refused)
    assert finding.outcome is Outcome.BAD
    assert "/home/other" in finding.found

"""Real repositories and small documents for the ledger's tests."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nightlab.ledger import Ledger
from nightlab.records import (
    Confinement,
    CurvePoint,
    Decision,
    Evaluation,
    Evidence,
    Exchange,
    InFlight,
    Proposal,
    Reason,
    Replicate,
    TrainingResult,
    TrialRecord,
    Verdict,
)

STUDY = "first-light"
MOMENT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


def run_git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No identity, no configuration, whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("GIT_COMMITTER_EMAIL", raising=False)


@pytest.fixture
def git() -> Callable[..., str]:
    return run_git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A clone with a trainer and one commit."""
    folder = tmp_path / "clone"
    (folder / "trainer").mkdir(parents=True)
    (folder / "trainer" / "train.py").write_text("DEPTH = 4\nWIDTH = 64\n")
    (folder / "program.md").write_text("Learn.\n")
    run_git(folder, "init", "-q", "-b", "main")
    run_git(folder, "add", ".")
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    run_git(folder, *identity, "commit", "-q", "-m", "Begin")
    return folder


@pytest.fixture
def ledger(root: Path) -> Ledger:
    return Ledger(root, STUDY)


@pytest.fixture
def remote_address(root: Path, tmp_path: Path) -> Path:
    """A bare remote that ``root`` knows as origin."""
    address = tmp_path / "remote.git"
    run_git(tmp_path, "clone", "-q", "--bare", str(root), str(address))
    run_git(root, "remote", "add", "origin", str(address))
    return address


@pytest.fixture
def second_root(remote_address: Path, tmp_path: Path) -> Path:
    """Another clone of the remote, on another machine so to say."""
    folder = tmp_path / "second"
    run_git(tmp_path, "clone", "-q", str(remote_address), str(folder))
    return folder


def make_replicate(seed: int = 1, val_bpb: float | None = 1.5) -> Replicate:
    return Replicate(
        seed=seed,
        training=TrainingResult(
            training_seconds=20.0,
            num_steps=7,
            peak_memory_mb=2048.0,
            curve=(
                CurvePoint(seconds=0.5, step=1, loss=7.5),
                CurvePoint(seconds=1, step=2, loss=None),
            ),
            log="step 1\r\nstep 2 \u00e9\n\ttab\n",
        ),
        evaluation=Evaluation(val_bpb=val_bpb, standard_error=0.01, log="scored\n"),
    )


def make_mark(number: int, parent: str, commit: str, **more: Any) -> InFlight:
    return InFlight(
        study=STUDY, number=number, parent=parent, commit=commit, started_at=MOMENT, **more
    )


def make_record(
    number: int, parent: str, commit: str, verdict: Verdict = Verdict.DISCARD, **more: Any
) -> TrialRecord:
    reasons = {
        Verdict.KEEP: Reason.IMPROVED if number else Reason.BASELINE,
        Verdict.DISCARD: Reason.REGRESSION,
        Verdict.CRASH: Reason.EXCEPTION,
        Verdict.FAILED: Reason.MACHINERY,
    }
    values: dict[str, Any] = {
        "study": STUDY,
        "title": f"Trial {number}",
        "proposer": "knobs",
        "val_bpb": 1.5 - number / 100,
        "replicates": (make_replicate(),),
        "knobs": {"DEPTH": 4, "WINDOW_PATTERN": "SSSL"},
        "decision": Decision(verdict=verdict, reason=reasons[verdict], sentence="So it is."),
        "confinement": Confinement(rung="none"),
        "started_at": MOMENT,
        "finished_at": MOMENT,
    }
    return TrialRecord(number=number, parent=parent, commit=commit, **(values | more))


def make_evidence(*seeds: int) -> Evidence:
    exchanges = (
        Exchange(prompt="Improve \u00fc.\n", answer="<<<<\r\n"),
        Exchange(prompt="", answer="x"),
    )
    return Evidence(
        proposal=Proposal(title="Wider", proposer="llm", exchanges=exchanges),
        replicates=tuple(make_replicate(seed) for seed in seeds or (1,)),
    )


def run_trial(
    ledger: Ledger, verdict: Verdict = Verdict.DISCARD, number: int | None = None, **more: Any
) -> TrialRecord:
    """One whole trial: candidate, mark, record."""
    number = ledger.next_number() if number is None else number
    parent = ledger.incumbent()
    commit = parent
    if number:
        commit = ledger.write_candidate(parent, f"DEPTH = {number}\n", f"Depth {number}")
    ledger.mark(make_mark(number, parent, commit))
    record = make_record(number, parent, commit, verdict, **more)
    ledger.finish(record, make_evidence(number))
    return record


@pytest.fixture
def make() -> Any:
    """The builders above, for tests that may not import a conftest."""

    class Builders:
        replicate = staticmethod(make_replicate)
        mark = staticmethod(make_mark)
        record = staticmethod(make_record)
        evidence = staticmethod(make_evidence)
        trial = staticmethod(run_trial)

    return Builders


@pytest.fixture
def check_health() -> Callable[[Path], None]:
    """Fail unless git finds the repository sound and the checkout untouched."""

    def check(root: Path) -> None:
        run_git(root, "fsck", "--strict", "--no-dangling")
        assert run_git(root, "status", "--porcelain") == ""
        assert run_git(root, "rev-parse", "--abbrev-ref", "HEAD") in ("main", "HEAD")

    return check


@pytest.fixture
def start_worker() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``worker.py`` and wait until it is ready; killed at the end."""
    here = Path(__file__).parent
    workers: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, str(here / "worker.py"), *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": str(here.parents[1])},
            stdout=subprocess.PIPE,
            text=True,
        )
        workers.append(worker)
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        return worker

    yield start
    for worker in workers:
        worker.kill()
        worker.communicate()

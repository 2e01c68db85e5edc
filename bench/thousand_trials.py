"""What a study of a thousand trials costs to keep, to tell of and to open, and what grows too fast.

    .venv/bin/python bench/thousand_trials.py                 # on PostgreSQL and SQLite: an hour
    .venv/bin/python bench/thousand_trials.py --trials 100 --database SQLite

The trials are made up (bench/long_study.py); all that holds and shows them is real: git, a bare
remote, MLflow's and Prefect's servers, nightlab's own commands, Chromium. Of what is done for each
trial, the first tenth stands beside the last: where that takes a multiple, the whole grows with the
square of the trials.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import sub
from pathlib import Path
from statistics import fmean

from browser import browser
from fleet_machines import BIN, Fleet, run
from long_study import LongStudy
from mlflow import MlflowClient

from nightlab.ledger import Ledger, Remote
from nightlab.records import InFlight
from nightlab.settings import Places
from nightlab.tracking import Tracker, TrialFacts, View, synchronise, view_url

STUDY = "long"
DATABASES = ("PostgreSQL", "SQLite")
ROWS = "document.querySelectorAll('[role=row]').length > 20"
CHARTS = "document.querySelectorAll('.js-plotly-plot').length > 0"
REPORT = "document.readyState === 'complete' && document.querySelectorAll('tr').length > 20"
RUN = "document.body.innerText.includes('Completed')"


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a person sits, in a fleet that has the study."""

    fleet: Fleet
    trials: int

    @property
    def ledger(self) -> Ledger:
        """The study."""
        return Ledger(self.fleet.desk, STUDY)

    def nightlab(self, *arguments: str) -> str:
        """Run a command."""
        return self.python("-m", "flows.command_line", *arguments)

    def python(self, *arguments: str) -> str:
        """Run a program with this clone's packages."""
        environment = {**self.fleet.environment, "PYTHONPATH": str(self.fleet.desk)}
        return run([str(BIN / "python"), *arguments], self.fleet.desk, environment)


def main() -> None:
    """Print the table, a line as it is known."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--database", choices=DATABASES, action="append")
    parser.add_argument("--pictures", type=Path, help="keep a picture of each page here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightlab-bench-") as name:
        source = Path(name) / "source"
        run(["git", "clone", "--quiet", str(Places.find().root), str(source)])
        write(source, arguments.trials)
        for database in arguments.database or DATABASES:
            fleet = Fleet(Path(name) / database, on_files=database == "SQLite")
            try:
                fleet.start()
                print(f"\n{fleet.database}")
                desk = Desk(fleet, arguments.trials)
                in_git(desk, source)
                in_mlflow(desk)
                in_browser(desk, in_prefect(desk), arguments.pictures)
            finally:
                fleet.stop()


def write(source: Path, trials: int) -> None:
    """Write the study's records."""
    study = LongStudy(Ledger(source, STUDY))
    seconds = []
    for number in range(trials):
        began = time.monotonic()
        study.write(number)
        seconds.append(time.monotonic() - began)
    print_each("write a record into git", seconds)


def in_git(desk: Desk, source: Path) -> None:
    """Push, fetch and read the study."""
    run(["git", "remote", "set-url", "origin", str(desk.fleet.hub)], source)
    with line("push the study"):
        Remote(source, "origin", STUDY).push()
    with line("nightlab fetch"):
        desk.nightlab("fetch", STUDY)
    ledger = desk.ledger
    with line("read all records"):
        ledger.records()
    with line("read them again, as each step of a session does"):
        ledger.records()
    with line("push, nothing being new, as each step of a session does"):
        Remote(desk.fleet.desk, "origin", STUDY).push()
    for command in (("show", STUDY), ("show", STUDY, "7"), ("studies",), ("export", STUDY)):
        with line(f"nightlab {' '.join(command)}") as size:
            size.append(len(desk.nightlab(*command).encode()))


def in_mlflow(desk: Desk) -> None:
    """Bring MLflow up to date, see that twice is once, and show one more trial."""
    fleet, moments = desk.fleet, [time.monotonic()]
    synchronise(
        desk.ledger,
        fleet.tracking,
        fleet.desk / "mlruns",
        on_progress=lambda done, of: moments.append(time.monotonic()),
    )
    print_each("bring a trial to MLflow (nightlab sync)", list(map(sub, moments[1:], moments)))
    with line("nightlab sync, nothing being new"):
        desk.nightlab("sync", STUDY)
    with line("show one more trial in MLflow, as a session does"):
        show_another(desk)
    with line("nightlab report") as size:
        desk.nightlab("report", STUDY)
        size.append(report(desk).stat().st_size)
    print_size("MLflow's database", 1e6 * fleet.database_mb("mlflow"))
    files = [path.stat().st_size for path in (fleet.folder / "runs").rglob("*") if path.is_file()]
    print_size(f"MLflow's {len(files)} artifacts", sum(files))


def show_another(desk: Desk) -> None:
    """Tell MLflow of the last trial once more, under the next number, from its start to its end."""
    ledger = desk.ledger
    last = ledger.records()[-1]
    record, evidence = last.model_copy(update={"number": desk.trials}), ledger.evidence(last.number)
    mark = InFlight(
        study=STUDY,
        number=record.number,
        parent=record.parent,
        commit=record.commit,
        proposal=evidence.proposal,
        started_at=record.started_at,
    )
    tracker = Tracker(desk.fleet.tracking, desk.fleet.desk / "mlruns", STUDY)
    tracker.trial_started(mark, TrialFacts.of(record))
    for each in record.replicates:
        tracker.replicate_started(record.number, each.seed, record.started_at)
    tracker.trial_ended(record, evidence, ledger.diff(last), ledger.source(last.commit))
    tracker.study_changed((*ledger.records(), record), "One more.")
    if not tracker.flush(timeout_seconds=600):
        raise RuntimeError(tracker.away)
    tracker.close()


def in_prefect(desk: Desk) -> str:
    """Have a session of so many trials on Prefect's pages; returns its run."""
    program = Path(__file__).with_name("long_night.py")
    picture = report(desk).with_suffix(".svg")
    said = desk.python(str(program), str(desk.fleet.desk), STUDY, str(picture))
    told = json.loads(said.splitlines()[-1])
    print_each("show a trial in Prefect", told["seconds"])
    print_size("Prefect's database", 1e6 * desk.fleet.database_mb("prefect"))
    return str(told["run"])


def in_browser(desk: Desk, run_id: str, pictures: Path | None) -> None:
    """Open the pages that people open, until what they look for can be read."""
    with browser() as page:
        for name, (address, shown) in addresses(desk, run_id).items():
            seconds = page.open(address, shown)
            print_row(f"open {name}", "not shown" if seconds is None else f"{seconds:.1f} s")
            if pictures is not None:
                page.picture(pictures / f"{desk.fleet.database}-{name.replace(' ', '-')}.png")


def addresses(desk: Desk, run_id: str) -> dict[str, tuple[str, str]]:
    """The pages, and what is true of each once it shows something."""
    fleet = desk.fleet
    experiment = MlflowClient(fleet.tracking).get_experiment_by_name(f"nightlab/{STUDY}")
    views = {view: view_url(fleet.tracking, experiment.experiment_id, view) for view in View}
    prefect = fleet.api.removesuffix("/api")
    return {
        **{f"MLflow's {view}": (views[view], CHARTS) for view in (View.STAIRCASE, View.CURVES)},
        "MLflow's table": (views[View.TRIALS], ROWS),
        "the report": (report(desk).as_uri(), REPORT),
        "Prefect's run": (f"{prefect}/runs/flow-run/{run_id}", RUN),
        "Prefect's page of the study": (f"{prefect}/runs/flow-run/{run_id}?tab=Artifacts", RUN),
    }


def report(desk: Desk) -> Path:
    """Where the study's page stands."""
    return desk.fleet.desk / "mlruns" / "reports" / f"{STUDY}.html"


@contextmanager
def line(what: str) -> Iterator[list[int]]:
    """Print how long the block took, and the bytes that it puts into the list."""
    began, size = time.monotonic(), list[int]()
    yield size
    print_row(
        what, f"{time.monotonic() - began:.1f} s", *(f"{sum(size) / 1e6:.2f} MB" for _ in size)
    )


def print_each(what: str, seconds: Sequence[float]) -> None:
    """Print what was done for each trial: all of it, and one of the first and last tenth."""
    tenth = max(1, len(seconds) // 10)
    first, last = fmean(seconds[:tenth]), fmean(seconds[-tenth:])
    print_row(what, f"{sum(seconds):.1f} s", f"{first:.3f} s each at first, {last:.3f} s at last")


def print_size(what: str, size: float) -> None:
    """Print bytes."""
    print_row(what, f"{size / 1e6:.1f} MB")


def print_row(what: str, *cells: str) -> None:
    """Print a row as soon as it is known."""
    print(f"{what:<60} {'  '.join(f'{cell:>10}' for cell in cells)}", flush=True)


if __name__ == "__main__":
    main()

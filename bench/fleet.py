"""What a fleet loses: its parts are killed, taken away and brought back, one drill after another.

    .venv/bin/python bench/fleet.py                       # all drills: about an hour
    .venv/bin/python bench/fleet.py --only remote kill    # those with a word in their name
    .venv/bin/python bench/fleet.py --kills 30            # random kills over one study instead

Real servers (PostgreSQL where the machine has it, SQLite otherwise), two workers, one bare
remote. After each drill the next session of the study runs undisturbed; then nothing may be
missing: every trial has its record on the remote, git finds no fault, no run is shown as running.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fleet_machines import ENDED, Fleet, as_parameter, remote_away, run

from nightlab.ledger import Ledger

TRIALS = 2
SETTINGS = {
    "preset": "quick",
    "proposer": "knobs",
    "budget_seconds": 4,
    "startup_free_seconds": 60,
    "confirm_replicates": 0,
}
OUTAGE_SECONDS = 148
"""As long as the outage that once ended a night."""
LATEST_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Row:
    """A drill's line in the table."""

    name: str
    lost: str
    seen: str


@dataclass(frozen=True, slots=True)
class Scene:
    """What a drill works with: a fleet, and a study of its own."""

    fleet: Fleet
    study: str

    @property
    def ledger(self) -> Ledger:
        """The study as the remote has it."""
        return Ledger(self.fleet.hub, self.study)

    def begin(self, trials: int = TRIALS, **settings: object) -> str:
        """Ask for a session; returns its run."""
        given = {**SETTINGS, "trials": trials, **settings}
        study, others = as_parameter("study", self.study), as_parameter("settings", given)
        return self.fleet.begin("research/on-demand", study, others)

    def await_trial(self, number: int) -> None:
        """Wait until a trial is under way, as the remote sees it."""
        await_that(
            lambda: (
                any(mark.number >= number and mark.attempts for mark in self.ledger.marks())
                or any(record.number >= number for record in self.ledger.records())
            ),
            f"trial {number} of {self.study}",
        )

    def kill_engine(self, identifier: str) -> None:
        """SIGKILL for the process of a run."""
        found = self.fleet.engine(identifier)
        if found is None:
            raise RuntimeError("no session is at work")
        run(["kill", "-9", str(found)])


def main() -> None:
    """Run the drills and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="+", default=[""], help="run the drills with one of these in their name"
    )
    parser.add_argument("--kills", type=int, help="kill random parts so often, over one study")
    parser.add_argument("--seed", type=int, default=0, help="of the random kills")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightlab-fleet-") as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.start()
            print(f"Prefect and MLflow on {fleet.database}.", flush=True)
            if arguments.kills is not None:
                rows = [random_kills(fleet, arguments.kills, arguments.seed)]
            else:
                rows = [
                    drilled(fleet, name, drill)
                    for name, drill in DRILLS.items()
                    if any(word in name for word in arguments.only)
                ]
        finally:
            fleet.stop()
    print("\n| drill | lost | what was seen |\n|-|-|-|")
    for row in rows:
        print(f"| {row.name} | {row.lost} | {row.seen} |")
    sys.exit(any(row.lost != "nothing" for row in rows))


def drilled(fleet: Fleet, name: str, drill: Callable[[Scene], str]) -> Row:
    """Run one drill; what it raises is in its row."""
    began = time.monotonic()
    scene = Scene(fleet, f"drill-{list(DRILLS).index(name)}")
    with workers(fleet, 2):
        try:
            seen = drill(scene)
            lost = missing(scene)
        except (RuntimeError, TimeoutError) as error:
            seen, lost = f"{type(error).__name__}: {str(error)[-400:]}", "the drill"
    row = Row(name, lost, " ".join(seen.split()).replace("|", "/"))
    print(f"{time.monotonic() - began:5.0f} s  {row.name}: lost {row.lost}; {row.seen}", flush=True)
    return row


def missing(scene: Scene) -> str:
    """What an undisturbed session afterwards cannot make good: ``nothing``, it is to be."""
    if not scene.ledger.exists():
        return "nothing"  # refused before anything was trained
    before = {record.number for record in scene.ledger.records()}
    ended = scene.fleet.await_end(scene.begin(trials=1))
    records = scene.ledger.records()
    numbers = [record.number for record in records]
    faults = []
    if not ended.startswith("Completed"):
        faults.append(f"the next session ended as {ended}")
    if numbers != list(range(len(numbers))) or len(numbers) <= len(before):
        faults.append(f"trials {numbers}")
    if len(scene.ledger.marks()) > 0:
        faults.append("marks are left")
    if run(
        ["git", "-C", str(scene.fleet.hub), "fsck", "--strict", "--no-dangling"], check=False
    ).strip():
        faults.append("git fsck complains")
    for kind in ("flow_runs", "task_runs"):
        if open_runs := scene.fleet.count(kind, "RUNNING", "PENDING", "CANCELLING", "PAUSED"):
            faults.append(f"{open_runs} {kind} shown as open")
    if shown := running_in_mlflow(scene):
        faults.append(f"{shown} runs RUNNING in MLflow")
    return ", ".join(faults) or "nothing"


def running_in_mlflow(scene: Scene) -> int:
    """How many of the study's runs MLflow shows as running."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=scene.fleet.tracking)
    experiment = client.get_experiment_by_name(f"nightlab/{scene.study}")
    if experiment is None:
        return 0
    found = client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'")
    return len(found)


def undisturbed(scene: Scene) -> str:
    """Two studies on two workers."""
    other = Scene(scene.fleet, f"{scene.study}-other")
    runs = [scene.begin(), other.begin()]
    return "; ".join(scene.fleet.await_end(each) for each in runs)


def engine_killed(scene: Scene) -> str:
    """SIGKILL for the process that trains."""
    begun = scene.begin()
    scene.await_trial(1)
    scene.kill_engine(begun)
    first = scene.fleet.await_end(begun, 120)
    again = scene.fleet.await_end(scene.begin())
    return f"{first}; next: {again}"


def worker_and_engine_killed(scene: Scene) -> str:
    """SIGKILL for both, as when a machine loses its power; another machine goes on."""
    begun = scene.begin()
    scene.await_trial(1)
    scene.fleet.end_workers()
    scene.kill_engine(begun)
    scene.fleet.worker()
    began = time.monotonic()
    ended = scene.fleet.await_end(scene.begin(), 3600)
    return f"{ended}; {time.monotonic() - began:.0f} s until the next session's end"


def retried(scene: Scene) -> str:
    """``prefect flow-run retry`` of a killed run."""
    begun = scene.begin()
    scene.await_trial(1)
    scene.kill_engine(begun)
    scene.fleet.await_end(begun, 120)
    # Prefect's worker tells of a crash twice: a retry that comes between the two is undone.
    time.sleep(30)
    scene.fleet.command("flow-run", "retry", begun)
    await_that(lambda: scene.fleet.flow_run(begun)["run_count"] > 1, "the run's second try")
    return scene.fleet.await_end(begun)


def cancelled(scene: Scene) -> str:
    """Cancel on Prefect's page."""
    begun = scene.begin()
    scene.await_trial(1)
    scene.fleet.command("flow-run", "cancel", begun)
    first = scene.fleet.await_end(begun, 180)
    return f"{first}; next: {scene.fleet.await_end(scene.begin())}"


def worker_terminated(scene: Scene) -> str:
    """SIGTERM for the worker, as when its machine is shut down."""
    begun = scene.begin()
    scene.await_trial(1)
    scene.fleet.end_workers(signal.SIGTERM)
    first = scene.fleet.await_end(begun, 180)
    scene.fleet.worker()
    return f"{first}; next: {scene.fleet.await_end(scene.begin())}"


def two_workers_one_study(scene: Scene) -> str:
    """Two sessions of one study at once."""
    runs = [scene.begin(trials=2), scene.begin(trials=2)]
    ends = [scene.fleet.await_end(each) for each in runs]
    return f"{len(scene.ledger.records())} records; {'; '.join(ends)}"


def mlflow_away(scene: Scene) -> str:
    """MLflow away for a whole session; then brought up to date from git at the desk."""
    scene.fleet.mlflow.kill()
    try:
        ended = scene.fleet.await_end(scene.begin())
    finally:
        scene.fleet.mlflow.start()
    at_desk(scene, "fetch", scene.study, "--remote", "origin")
    return f"{ended}; {at_desk(scene, 'sync', scene.study).splitlines()[-1]}"


def remote_away_a_while(scene: Scene) -> str:
    """The remote cannot be reached for 22 seconds of a session."""
    begun = scene.begin()
    scene.await_trial(1)
    with remote_away(scene.fleet.hub):
        time.sleep(22)
    return scene.fleet.await_end(begun)


def remote_away_at_the_end(scene: Scene) -> str:
    """The remote is gone until after the session's end; later the machine has another session."""
    begun = scene.begin(push_hours=0.01)
    scene.await_trial(1)
    with remote_away(scene.fleet.hub):
        ended = scene.fleet.await_end(begun, 1200)
    there = len(scene.ledger.records())
    return f"{ended}; {there} records on the remote before the next session"


def prefect_away(scene: Scene) -> str:
    """Prefect's server is killed in mid-session and comes back after minutes."""
    begun = scene.begin()
    scene.await_trial(1)
    scene.fleet.prefect.kill()
    time.sleep(OUTAGE_SECONDS)
    scene.fleet.prefect.start()
    return scene.fleet.await_end(begun)


def suspended(scene: Scene) -> str:
    """Suspend, then Resume, as Prefect's page asks for them."""
    begun = scene.begin()
    scene.await_trial(1)
    states = f"{scene.fleet.api}/flow_runs/{begun}"
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    details = {"pause_reschedule": True, "pause_timeout": until}
    suspend = {"type": "PAUSED", "name": "Suspended", "state_details": details}
    post(f"{states}/set_state", {"state": suspend})
    await_that(lambda: scene.fleet.engine(begun) is None, "the session to leave")
    post(f"{states}/resume", {})
    return scene.fleet.await_end(begun)


def settings_alone(scene: Scene) -> str:
    """A person replaces the settings at the command line: the study and its remote stay."""
    before = len(Ledger(scene.fleet.hub, "on-demand").records())
    settings = as_parameter("settings", {**SETTINGS, "trials": 1})
    ended = scene.fleet.await_end(scene.fleet.begin("research/on-demand", settings))
    there = len(Ledger(scene.fleet.hub, "on-demand").records()) - before
    return f"{ended}; {there} records of study on-demand on the remote"


def nightly_as_shipped(scene: Scene) -> str:
    """The night that prefect.yaml ships, on whatever machine this is."""
    return scene.fleet.await_end(scene.fleet.begin("research/nightly"), 300)


def two_caches(scene: Scene) -> str:
    """Two users of one machine, each with a cache: their trainings take turns on each core."""
    scene.fleet.end_workers()
    for number in range(2):
        scene.fleet.worker(scene.fleet.folder / f"cache-{number}")
    other = Scene(scene.fleet, f"{scene.study}-other")
    runs = [scene.begin(trials=2), other.begin(trials=2)]
    return "; ".join(scene.fleet.await_end(each) for each in runs)


DRILLS: dict[str, Callable[[Scene], str]] = {
    "two studies, two workers": undisturbed,
    "kill -9 of the engine": engine_killed,
    "kill -9 of worker and engine": worker_and_engine_killed,
    "prefect flow-run retry of a killed run": retried,
    "Cancel": cancelled,
    "Suspend and Resume": suspended,
    "SIGTERM to the worker": worker_terminated,
    "two workers, one study": two_workers_one_study,
    "MLflow away a whole session, then sync": mlflow_away,
    "remote away for 22 s": remote_away_a_while,
    "remote gone until after the session's end": remote_away_at_the_end,
    f"Prefect server away for {OUTAGE_SECONDS} s": prefect_away,
    "deployment run with --param settings alone": settings_alone,
    "research/nightly as shipped": nightly_as_shipped,
    "two caches on one machine": two_caches,
}


def random_kills(fleet: Fleet, kills: int, seed: int) -> Row:
    """Kill random parts at random moments while one study is worked on, session after session."""
    chance = random.Random(seed)
    scene = Scene(fleet, "kills")
    parts = ("worker", "engine", "Prefect", "MLflow", "remote")
    done = dict.fromkeys(parts, 0)
    with workers(fleet, 2):
        begun = scene.begin(trials=5)
        for _ in range(kills):
            time.sleep(chance.uniform(2, 40))
            part = chance.choice(parts)
            done[part] += 1
            strike(scene, part, begun, chance.uniform(1, 30))
            if fleet.flow_run(begun)["state"]["type"] in ENDED:
                begun = scene.begin(trials=5)
        fleet.await_end(begun, 1800)
        lost = missing(scene)
    seen = ", ".join(f"{part} {count}" for part, count in done.items())
    return Row(f"{kills} kills at random, seed {seed}", lost, seen)


def strike(scene: Scene, part: str, begun: str, seconds: float) -> None:
    """Take one part away, and bring it back after so many seconds."""
    fleet = scene.fleet
    if part == "remote":
        with remote_away(fleet.hub):
            time.sleep(seconds)
    elif part in ("Prefect", "MLflow"):
        service = fleet.prefect if part == "Prefect" else fleet.mlflow
        service.kill()
        time.sleep(seconds)
        service.start()
    elif part == "engine":
        found = fleet.engine(begun)
        if found is not None:
            run(["kill", "-9", str(found)], check=False)
    else:
        fleet.end_workers()
        fleet.worker()
        fleet.worker()


@contextmanager
def workers(fleet: Fleet, count: int) -> Iterator[None]:
    """So many workers, ended after the block."""
    for _ in range(count):
        fleet.worker()
    try:
        yield
    finally:
        fleet.end_workers()


def at_desk(scene: Scene, *arguments: str) -> str:
    """Run ``nightlab`` where a person sits."""
    command = [sys.executable, "-m", "flows.command_line", *arguments]
    environment = {**scene.fleet.environment, "PYTHONPATH": str(scene.fleet.desk)}
    return run(command, scene.fleet.desk, environment).strip() or "said nothing"


def post(address: str, content: object) -> None:
    """Ask Prefect's server for a change."""
    import httpx

    httpx.post(address, json=content, timeout=30).raise_for_status()


def await_that(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: it is not, after ten minutes.
    """
    deadline = time.monotonic() + LATEST_SECONDS
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(0.5)
    raise TimeoutError(f"waited for {what}")


if __name__ == "__main__":
    main()

"""Runs an attack, or its honest twin, against the real engine, and says what came of it.

An attack is one file in ``attacks/``: a real train.py with two functions, ``attack`` and
``honest``, of which the harness calls one. Its docstring says what is tried and what
success would be; its constants, read here without importing the file:

    KIND      what it is after: containment, gate, protocol, resources or audit
    LAYER     what stops it
    CONTROL   where it is seen to succeed: ``unconfined`` (the same host, without a sandbox),
              ``naive`` (a host as many systems have it: see ``naive.py``), ``claim`` (the
              score without the audit), ``no allowance`` (an evaluation that only the whole of its
              time limits), or why there is no such place
    EXPECTED  reasons that its trial may end with, of which one must apply; may be left out
    VARIANTS  ways to try it, each in a run of its own: ``scene["variant"]``

and, where the defaults do not do, BUDGET and STARTUP (seconds), MEMORY and SCRATCH (MiB),
LINGER (seconds until traces are looked for), SCENARIO (see ``run_training``),
for an audit WEIGHTS and SECONDS, and OPEN: rungs on which it is known to get through;
OPEN_TO_USERS: where it does unless the engine is root's.
"""

import ast
import contextlib
import ctypes
import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from nightlab.errors import MachineryError
from nightlab.records import CurvePoint, Reason, TrainingResult
from nightlab.sandbox import Job, Sandbox
from nightlab.sandbox.device import Device
from nightlab.training.token_file import TokenFile
from nightlab.training.training import TrainingOrder, train_replicate
from tests.adversarial.bare import MARKER
from tests.adversarial.scene import Scene

FOLDER = Path(__file__).parent
ATTACKS = FOLDER / "attacks"
KINDS = ("containment", "gate", "protocol", "text", "resources", "audit")
CHEATED = b"cheated"
"""Weights that no rule allows: a checkpoint with these in it is an attack's success."""

HOLD_SECONDS = 1.5
"""How long the engine's interpreter is held up at each reported point, where it is."""

HELD_UP_SECONDS = 15.0
"""How much longer than its caps a training may hold the engine up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One file of ``attacks/``."""

    name: str
    summary: str
    source: str
    kind: str
    layer: str
    control: str
    expected: frozenset[Reason]
    variants: tuple[str, ...]
    scenario: str
    budget_seconds: float
    startup_seconds: float
    memory_mb: int
    scratch_mb: int
    linger_seconds: float
    weights: str
    evaluation_seconds: float
    open: tuple[str, ...]
    open_to_users: tuple[str, ...]

    def is_open(self, rung: str) -> bool:
        """Whether it is known to get through there, for who we are."""
        return rung in self.open or (os.geteuid() != 0 and rung in self.open_to_users)

    @classmethod
    def read(cls, path: Path) -> "Attack":
        """Parse a file, without running any of it."""
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        constants: dict[str, Any] = {}
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in _HEADER:
                    constants[name] = ast.literal_eval(node.value)
        return cls(
            name=path.stem,
            summary=(ast.get_docstring(tree) or "").partition("\n")[0].rstrip("."),
            source=source,
            kind=constants["KIND"],
            layer=constants["LAYER"],
            control=constants["CONTROL"],
            expected=frozenset(Reason(word) for word in constants.get("EXPECTED", "").split()),
            variants=constants.get("VARIANTS", ("",)),
            scenario=constants.get("SCENARIO", "once"),
            budget_seconds=constants.get("BUDGET", 5.0),
            startup_seconds=constants.get("STARTUP", 20.0),
            memory_mb=constants.get("MEMORY", 0),
            scratch_mb=constants.get("SCRATCH", 4096),
            linger_seconds=constants.get("LINGER", 0.0),
            weights=constants.get("WEIGHTS", "trained"),
            evaluation_seconds=constants.get("SECONDS", 120.0),
            open=constants.get("OPEN", ()),
            open_to_users=constants.get("OPEN_TO_USERS", ()),
        )

    def candidate(self, function: str, facts: dict[str, Any]) -> str:
        """The train.py that calls ``attack`` or ``honest``."""
        prelude = "import sys, types\n"
        for name in ("bare", "bigram") if self.kind == "audit" else ("bare",):
            text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
            prelude += (
                f"{name} = sys.modules['{name}'] = types.ModuleType('{name}')\n"
                f"exec(compile({text!r}, '{name}.py', 'exec'), {name}.__dict__)\n"
            )
        prelude += f"bare.scene.update(__import__('json').loads({json.dumps(facts)!r}))\n"
        last = f"build_model = {function}" if self.kind == "audit" else f"{function}()"
        return f"{prelude}{self.source}\n\nif True:\n    {last}\n"


_HEADER = {
    "KIND",
    "LAYER",
    "CONTROL",
    "EXPECTED",
    "VARIANTS",
    "SCENARIO",
    "BUDGET",
    "STARTUP",
    "MEMORY",
    "SCRATCH",
    "LINGER",
    "WEIGHTS",
    "SECONDS",
    "OPEN",
    "OPEN_TO_USERS",
}


def all_attacks() -> list[Attack]:
    """Every attack there is, by name."""
    return [Attack.read(path) for path in sorted(ATTACKS.glob("*.py"))]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of one run."""

    failure: Reason | None = None
    message: str = ""
    log: str = ""
    through: list[str] = field(default_factory=list)
    """Evidence that the attack reached its aim; empty where it was stopped."""

    def take(self, result: TrainingResult, scene: Scene) -> None:
        """Look for evidence in what the engine would record."""
        self.failure, self.message, self.log = result.failure, result.message, result.log
        lines = result.log.splitlines()
        self.through += [line for line in lines if line.startswith(MARKER)]
        recorded = result.model_dump_json()
        if scene.secret in recorded:
            self.through.append("the secret stands in the record")
        if any(character in recorded for character in ("\\u001b", "\\u009b", "\x1b", "\\u0007")):
            self.through.append("control characters stand in the record")

    def take_checkpoint(self, path: Path, scene: Scene) -> None:
        """Look for evidence in the weights that were taken."""
        if not path.exists():
            return
        with path.open("rb") as file:
            head = file.read(1 << 16)
        if CHEATED in head or scene.secret.encode() in head:
            self.through.append(f"a checkpoint that holds {head[:60]!r} was taken")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What the engine's own process holds: the same before and after a job, or it leaks."""

    descriptors: int
    children: int

    @classmethod
    def now(cls) -> "Engine":
        """Count."""
        return cls(
            descriptors=len(os.listdir("/proc/self/fd")),
            children=len(psutil.Process().children()),
        )

    def losses(self) -> list[str]:
        """What is held now and was not then; a moment is given for threads to end."""
        for _ in range(100):
            now = self.now()
            if now.descriptors <= self.descriptors and now.children <= self.children:
                return []
            time.sleep(0.02)
        return [f"the engine keeps {now} where it had {self}"]


def order_for(attack: Attack) -> TrainingOrder:
    """What the host asks of an attack's training."""
    return TrainingOrder(
        vocab_size=64,
        sequence_length=16,
        device=Device(name="cpu", description="test", threads=1),
        seed=0,
        budget_seconds=attack.budget_seconds,
        startup_seconds=attack.startup_seconds,
        memory_mb=attack.memory_mb,
        scratch_mb=attack.scratch_mb,
    )


def run_training(
    attack: Attack,
    function: str,
    variant: str,
    sandbox: Sandbox,
    scene: Scene,
    folder: Path,
    *,
    settle_seconds: float = 5.0,
) -> Outcome:
    """Train an attack, or its twin, as the engine trains any candidate.

    Scenarios: ``once``; ``twice``, one job after the other, for what one leaves to the next;
    ``beside a sibling``, while another candidate's job runs; ``beside a training``, an honest one
    that begins once the attack reports a step; ``interpreter held``, where who listens to points
    keeps Python's lock.
    """
    outcome, engine = Outcome(), Engine.now()
    confined = sandbox.confinement.rung != "none"
    (folder / "train.bin").write_bytes(bytes(4000))
    with contextlib.ExitStack() as stack:
        facts = {**scene.facts(), "variant": variant, "confined": confined}
        if attack.scenario == "beside a sibling":
            facts |= stack.enter_context(_sibling(sandbox))
        for turn in range(1, 3 if attack.scenario == "twice" else 2):
            source = attack.candidate(function, {**facts, "turn": turn})
            listening = contextlib.nullcontext(
                _hold if attack.scenario == "interpreter held" else _pass
            )
            if attack.scenario == "beside a training":
                listening = _neighbour(order_for(attack), sandbox, folder, outcome)
            with listening as on_point:
                _train_once(order_for(attack), source, sandbox, scene, folder, outcome, on_point)
        outcome.take_checkpoint(folder / "checkpoint.pt", scene)
    time.sleep(attack.linger_seconds)
    outcome.through += scene.disturbances(settle_seconds) + engine.losses()
    return outcome


def _train_once(
    order: TrainingOrder,
    source: str,
    sandbox: Sandbox,
    scene: Scene,
    folder: Path,
    outcome: Outcome,
    on_point: Callable[[CurvePoint], None],
) -> None:
    began = time.monotonic()
    with TokenFile.from_path(folder / "train.bin") as tokens:
        seen = os.dup(tokens.fileno())
        result = train_replicate(
            order,
            source,
            tokens,
            sandbox,
            folder / "checkpoint.pt",
            lambda: None,
            on_point,
        )
    seconds = time.monotonic() - began
    with open(seen, "rb") as file:
        if os.pread(file.fileno(), 4000, 0) != bytes(4000):
            outcome.through.append("the training tokens were changed")
    outcome.take(result, scene)
    if seconds > order.startup_seconds + order.budget_seconds + HELD_UP_SECONDS:
        outcome.through.append(f"it held the engine up for {seconds:.0f} seconds")


def _pass(point: CurvePoint) -> None:
    """Listen to a point, and do nothing."""


def _hold(point: CurvePoint) -> None:
    # Unlike ctypes.CDLL, this does not let other threads run meanwhile.
    ctypes.PyDLL(None).usleep(int(1e6 * HOLD_SECONDS))


@contextlib.contextmanager
def _neighbour(
    order: TrainingOrder, sandbox: Sandbox, folder: Path, outcome: Outcome
) -> Iterator[Callable[[CurvePoint], None]]:
    """Train honestly beside an attack, from the moment at which this is called back."""
    source = (FOLDER / "bare.py").read_text(encoding="utf-8") + "\ntrain_honestly()\n"

    def train() -> str | None:
        with TokenFile.from_path(folder / "train.bin") as tokens:
            try:
                result = train_replicate(
                    order,
                    source,
                    tokens,
                    sandbox,
                    folder / "neighbours.pt",
                    lambda: None,
                    lambda point: None,
                )
            except MachineryError as error:
                return str(error)
        return None if result.failure is None else f"{result.failure}: {result.message}"

    with ThreadPoolExecutor(1) as thread, _few_open_files():
        started: list[Future[str | None]] = []

        def start(_: CurvePoint) -> None:
            started[:] = started or [thread.submit(train)]

        yield start
        ended = started[0].result() if started else "it was never begun"
        if ended is not None:
            outcome.through.append(f"a training beside it: {ended}")


@contextlib.contextmanager
def _few_open_files() -> Iterator[None]:
    """Have this process open as many files as most machines allow by themselves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def _sibling(sandbox: Sandbox) -> Iterator[dict[str, Any]]:
    """Another candidate's job with a diary in its own folders: how to find it."""
    source = (
        "import tempfile, time\n"
        "for place in ('.', tempfile.gettempdir()):\n"
        "    open(f'{place}/diary', 'w').write('weights of a sibling')\n"
        "print('written', flush=True)\n"
        "time.sleep(600)\n"
    )
    device = Device(name="cpu", description="test", threads=1)
    with sandbox.start(Job(program="train", source=source, device=device)) as process:
        end = time.monotonic() + 20
        while "written" not in process.log and time.monotonic() < end:
            time.sleep(0.01)
        tree = psutil.Process(process.pid).children(recursive=True)
        yield {
            "sibling": [process.pid, *(each.pid for each in tree)],
            "sibling_folder": str(process.folder.path),
        }

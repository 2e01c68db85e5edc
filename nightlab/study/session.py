"""A session of a study: what its steps share, and how it is opened and left.

Opening checks what is cheap to check first, so that a mistake is told before anything
is downloaded, built or paid for. Leaving releases everything, whatever happened.
"""

import hashlib
import os
import platform
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from nightlab import __version__, events
from nightlab.corpus import Corpus, CorpusRequest, open_corpus
from nightlab.errors import RemoteError, SessionOver, UsageError
from nightlab.judging.case import learnt_from, noise_of
from nightlab.judging.decision import MOST_PAIRS
from nightlab.judging.scores import find_baseline
from nightlab.ledger import Ledger, Remote, Waiting, hold_session, stop_request
from nightlab.ledger import Session as HeldSession
from nightlab.machine.network import prepare_network
from nightlab.proposers import Proposer, Spending, TriedChange, choose_proposer
from nightlab.records import Answering, InFlight, ProposalCost, TrialRecord, utc_now
from nightlab.sandbox import choose_sandbox
from nightlab.sandbox.device import Device, detect_device
from nightlab.sandbox.endable import EndableSandbox
from nightlab.sandbox.lane_lock import lane_lock, lock_folder
from nightlab.sandbox.owned_folder import sweep_temporary
from nightlab.settings import Places, SessionSettings
from nightlab.study.checks import check_settings
from nightlab.study.conditions import (
    allowed_answering,
    begun_with,
    check_device,
    continue_settings,
    free_startup,
    require_compiler,
    require_known_schema,
    say_kept_seed,
    say_new_engine,
    say_new_rule,
    say_unknown_peak,
)
from nightlab.study.fit import check_fit, request_of
from nightlab.study.left_clones import sweep_left_clones
from nightlab.study.patience import Outage
from nightlab.study.work_folder import work_folder
from nightlab.tracking import Origin, Tracker
from nightlab.training.token_file import TokenFile

MOST_LANES = 2
"""A trial has no use for more: a candidate and its twin, or two pairs of which one may be for
nothing. Always the same number, since trainings side by side share caches, and a core alone is
faster: pairs are to be trained alike."""

ENGINE_FILES = ("nightlab", "trainer/runtime.py", "trainer/score.py")


@dataclass(slots=True, kw_only=True)
class Session:
    """What the steps of a session share."""

    identifier: str
    settings: SessionSettings
    places: Places
    ledger: Ledger
    remote: Remote | None
    hold: HeldSession
    sandbox: EndableSandbox
    device: Device
    tracker: Tracker
    proposer: Proposer
    proposer_why: str
    spending: Spending
    """What models have cost, against the caps."""
    engine_version: str
    work: Path
    """A folder for checkpoints between training and evaluation; removed at the end."""
    locks: Path
    """Where the devices of this machine are locked."""
    startup_free_seconds: float | None = None
    """Start-up that is not charged to a training's budget, as measured of the baseline; None
    before that: what the settings say."""
    answering_allowed: Answering | None = None
    """What a candidate's code may take in an evaluation, as measured of the baseline; None before
    that: as long as the evaluation may."""
    corpus: Corpus | None = None
    began: datetime = field(default_factory=utc_now)
    trials_ended_at: datetime | None = None
    """When what follows the trials began, which outlasts the night and a request to stop from
    before."""
    prefect: Outage = field(default_factory=Outage)
    """Of Prefect's server."""
    troubles: dict[str, str] = field(default_factory=dict)
    """What was said last of each thing that goes without success, while it does."""
    asking: threading.Thread | None = None
    """Where the next trial's idea is asked for, if it is."""
    tried: dict[int, TriedChange] = field(default_factory=dict, repr=False)
    """What finished trials changed, as far as a proposer was told already."""

    @property
    def ready_corpus(self) -> Corpus:
        """The corpus, once it was taken in with ``use_corpus``."""
        if self.corpus is None:
            raise RuntimeError("the session's corpus is used before it was prepared")
        return self.corpus

    def tokens(self, seed: int) -> TokenFile:
        """The text of one training, as its seed draws it; whoever asks closes it."""
        sizes = self.settings.sizes
        return TokenFile.from_windows(
            self.ready_corpus.path("train"),
            seed=seed,
            sequence_length=sizes.sequence_length,
            most_tokens=sizes.budget_tokens,
        )

    @property
    def place(self) -> str:
        """Machine, device and engine: only trainings of one place make a pair."""
        return f"{platform.node()}, {self.device.description}, engine {self.engine_version}"

    @property
    def lanes(self) -> int:
        """How many trainings run side by side: one on a GPU, one on each core of a CPU."""
        # Not the device's threads: those are of one job, which has one core of a CPU.
        if self.device.kind == "cuda":
            return 1
        cores, memory_mb = len(os.sched_getaffinity(0)), self.settings.sizes.memory_mb
        machine_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
        fitting = machine_mb // memory_mb if memory_mb else cores
        return max(1, min(cores, fitting, MOST_LANES))

    def corpus_request(self) -> CorpusRequest:
        """What the session asks of its corpus."""
        begun = begun_with(self.ledger.records(), self.ledger.marks())
        asked = request_of(self.settings.sizes, self.settings.corpus, self.places.root)
        begun_on = (begun.corpus_fingerprint or None) if begun is not None else None
        return asked.model_copy(update={"begun_on": begun_on})

    def use_corpus(self, folder: Path) -> None:
        """Open a prepared corpus.

        Raises:
            UsageError: the study was begun on another text.
        """
        corpus = open_corpus(folder)
        begun = begun_with(self.ledger.records(), self.ledger.marks())
        if begun is not None and begun.corpus_fingerprint != corpus.fingerprint:
            raise UsageError(
                f"Study {self.ledger.study!r} was begun on the corpus "
                f"{begun.corpus_fingerprint[:12]} and {self.settings.corpus!r} is now "
                f"{corpus.fingerprint[:12]}, so scores could not be compared: restore the text, or "
                "name another study with --study."
            )
        self.corpus = corpus

    def close(self) -> None:
        """Give back what the session holds open."""
        self.tracker.close()


_current: ContextVar[Session] = ContextVar("session")


def current_session() -> Session:
    """The session that is open here: a flow below it is not given it as a parameter.

    Prefect stores and shows parameters, and a session holds keys.
    """
    return _current.get()


@contextmanager
def as_current(session: Session) -> Iterator[None]:
    """Make a session the one that is open while the block runs."""
    before = _current.set(session)
    try:
        yield
    finally:
        _current.reset(before)


@contextmanager
def open_session(
    settings: SessionSettings,
    places: Places,
    *,
    identifier: str,
    api_keys: Mapping[str, SecretStr] | None = None,
    waiting: Waiting | None = None,
) -> Iterator[Session]:
    """Check, take hold of the study, and give what its steps share.

    Args:
        settings: the session's.
        places: of this machine.
        identifier: the Prefect flow run's.
        api_keys: for the models, by the provider or address that each is for.
        waiting: for how long to wait where another session holds the study; None for not at all.

    Raises:
        UsageError: settings that cannot work here, with the sentence that mends them.
        StudyBusy: another session holds the study.
        RemoteError: the study's git remote cannot be read.
    """
    places.require_cache()
    prepare_network(os.environ)  # of a worker: the command line has done it
    check_settings(settings, places)
    ledger = Ledger(places.root, settings.study)
    remote = Remote(places.root, settings.remote, settings.study) if settings.remote else None
    hear = partial(_require_no_stop, ledger, identifier)
    waiting = replace(waiting or Waiting(), while_waiting=hear)
    with ExitStack() as stack:
        holding = hold_session(ledger, remote, identifier, cache=places.cache, waiting=waiting)
        hold = stack.enter_context(holding)
        if remote is not None:
            remote.fetch()
            _bring_in_bundles(hold)
            sweep_left_clones(ledger)
        records, marks = ledger.records(), ledger.marks()
        require_known_schema(settings.study, (*records, *marks))
        given, settings = settings, continue_settings(settings, begun_with(records, marks))
        say_kept_seed(given, settings)
        spending = Spending(settings)
        spending.count_earlier(earlier_costs(records, marks, identifier))
        chosen = choose_proposer(settings, api_keys=api_keys, spending=spending)
        device = detect_device(settings.device)
        check_fit(settings, places.cache, device, root=places.root)
        check_device(device, find_baseline(records))
        say_unknown_peak(device)
        require_compiler(settings)
        locks = lock_folder(places)
        # What tries a GPU would disturb who trains on it.
        with lane_lock(locks, device, 1, hear) if device.kind == "cuda" else nullcontext():
            sandbox = choose_sandbox(
                settings.trust_candidate,
                require_rung=settings.require_rung,
                cache=places.cache,
                device=device,
                compiles=settings.sizes.compiles,
            )
        version = engine_version(places.root)
        say_new_engine(version, records)
        say_new_rule(records)
        sweep_temporary()
        work = stack.enter_context(work_folder(places.cache, settings.study))
        session = Session(
            identifier=identifier,
            settings=settings,
            places=places,
            ledger=ledger,
            remote=remote,
            hold=hold,
            sandbox=EndableSandbox(sandbox),
            device=device,
            tracker=Tracker(
                places.tracking_uri,
                places.mlruns,
                settings.study,
                Origin.of(ledger.plumbing, places.cache),
            ),
            proposer=chosen.proposer,
            proposer_why=chosen.why,
            spending=spending,
            engine_version=version,
            work=work,
            locks=locks,
        )
        stack.callback(session.close)
        session.startup_free_seconds = free_startup(settings, records, session.place)
        session.answering_allowed = allowed_answering(records, session.place, device)
        stack.enter_context(as_current(session))
        yield session


def _require_no_stop(ledger: Ledger, identifier: str) -> None:
    """End a wait before the session begins where a person stops it.

    Raises:
        SessionOver: it is so.
    """
    if (request := stop_request(ledger, identifier)) is not None:
        raise SessionOver(f"{request.sentence()} It was waiting to begin.")


def _bring_in_bundles(hold: HeldSession) -> None:
    """What could not be pushed from this machine is part of the study; a failure costs no night."""
    try:
        hold.bring_in_bundles()
    except RemoteError as error:
        events.publish(events.Notice(text=str(error)))


def earlier_costs(
    records: tuple[TrialRecord, ...], marks: tuple[InFlight, ...], session: str
) -> list[tuple[bool, ProposalCost]]:
    """What each proposal in git has cost, and whether this session, retried, paid for it."""
    costs = [(record.session == session, record.cost) for record in records]
    for mark in marks:
        ideas = (*mark.set_aside, *((mark.proposal,) if mark.proposal is not None else ()))
        costs += [(mark.session == session, idea.cost) for idea in ideas]
    return costs


def study_noise_bpb(settings: SessionSettings, records: tuple[TrialRecord, ...]) -> float | None:
    """Standard deviation of a pair's difference in bits per byte; None before there is a score."""
    if find_baseline(records) is None:
        return None
    return noise_of(learnt_from(records).gains_bpb, settings.sizes.pair_noise_bpb).pair_bpb


def free_startup_now(session: Session) -> float:
    """Start-up that is not charged to a training's budget, as it is known by now."""
    known = session.startup_free_seconds
    return session.settings.sizes.startup_free_seconds if known is None else known


def study_seeds(settings: SessionSettings) -> tuple[int, ...]:
    """The seeds of a study, in the order in which each of its codes is trained on them."""
    return tuple(seed_from(settings.seed, "pair", index) for index in range(2 * MOST_PAIRS))


def seed_from(*parts: str | int) -> int:
    """A seed of 31 bits for what the parts name."""
    text = "/".join(str(part) for part in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest()) >> 1


def engine_version(root: Path) -> str:
    """Nightlab's version and a hash of the files that measure."""
    digest = hashlib.sha256()
    for name in ENGINE_FILES:
        path = root / name
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        for file in files:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def say_once(session: Session, thing: str, trouble: str) -> None:
    """Say what is the matter with something, unless that was the last that was said of it."""
    if session.troubles.get(thing) != trouble:
        session.troubles[thing] = trouble
        events.publish(events.Notice(text=trouble))


def flat_settings(settings: SessionSettings) -> Mapping[str, Any]:
    """The settings as plain JSON values, with those that another version has set besides."""
    return {**settings.model_dump(mode="json"), **(settings.model_extra or {})}

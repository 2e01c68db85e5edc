"""Settings: what a session is asked to do, and where this machine keeps things.

``SessionSettings`` is one pydantic model, so that the command line, Prefect's form and
the tests all validate alike. It never holds a key: Prefect stores and shows flow
parameters, so keys come from the environment or a Prefect Secret block.
``Places`` is the only reader of Nightlab's own environment variables.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from nightlab.errors import UsageError
from nightlab.records import Frozen

TRAINER_FILE = "trainer/train.py"
LONGEST_STUDY_NAME = 100

LONGEST_SECONDS = 1_000_000
"""Eleven days; the system's waiting calls accept no more than twenty-four."""

TOKEN_BUDGET_CAP = 3.0
"""The wall-clock cap of a token budget, as a multiple of the preset's seconds, where no other is
set: it is there to end what hangs, not to judge what happens to be slow today."""


def address_problem(text: str) -> str | None:
    """What in an address must not be stored, as a clause; None where nothing is."""
    parts = urlsplit(text.removeprefix("climbmix:"))
    if parts.scheme in ("http", "https") and ("@" in parts.netloc or parts.query):
        return (
            "an address is stored and shown with every trial, so it may hold no user, password "
            "or query: put the key into the provider's environment variable"
        )
    return None


class Preset(Frozen):
    """Sizes that belong together: a machine, a budget, a corpus and an evaluation."""

    budget_seconds: float
    """Training seconds of one replicate; under a token budget their cap."""
    budget_tokens: int | None = None
    """Training tokens of one replicate; None where seconds are counted."""
    startup_seconds: float
    """Cap on start-up: imports, compilation, warm-up."""
    startup_free_seconds: float
    """Start-up that is not charged to the budget. Anything longer is, or a candidate could use it
    to train on whatever its sandbox can read."""
    preflight_seconds: float
    """Training seconds of the dry run on random tokens that a candidate makes first; 0 for none."""
    sequence_length: int
    vocab_size: int
    evaluation_tokens: int
    screen_positions: int
    """Secret positions that a candidate's first audit asks for; see evaluation/audit.py."""
    corpus_megabytes: int
    """How much text the corpus takes in, at most."""
    memory_mb: int
    """Memory of all processes of a candidate together; 0 for no limit."""
    scratch_mb: int
    """Disk space of a candidate's work folder: checkpoints (two stand while one is replaced)
    and compile caches."""
    knobs: dict[str, int | float | bool | str] = Field(default_factory=dict)
    """Constants of train.py that a new study starts with, where they differ."""
    row_memory_mb: float | None = None
    """Memory of a GPU that each row of a device batch takes in training, with these constants;
    None where any GPU has enough."""

    def knobs_on(self, memory_mb: float | None) -> dict[str, int | float | bool | str]:
        """The constants on a GPU with so much memory (None: a CPU): its device batch must fit.

        Halving it as often as needed leaves the batch in tokens as it is. A tenth of the memory
        and a gigabyte stay free, for the driver, the evaluation and what the estimate misses.
        """
        size = self.knobs.get("DEVICE_BATCH_SIZE")
        if self.row_memory_mb is None or memory_mb is None or not isinstance(size, int):
            return self.knobs
        fitting = (0.9 * memory_mb - 1024) / self.row_memory_mb
        while size > max(1, fitting):
            size //= 2
        return {**self.knobs, "DEVICE_BATCH_SIZE": size}

    @property
    def compiles(self) -> bool:
        """Whether a new study's train.py has its model compiled."""
        return bool(self.knobs.get("COMPILE", False))

    @property
    def counts_tokens(self) -> bool:
        """Whether a replicate's budget is tokens, so that speed does not enter scores."""
        return self.budget_tokens is not None

    @property
    def most_training_tokens(self) -> int | None:
        """How much text a training is handed at most; None for all there is.

        Under a token budget, the budget and one row more: windows begin at a random offset within
        the first row, and end with a target. So no candidate sees more text than another.
        """
        return None if self.budget_tokens is None else self.budget_tokens + self.sequence_length


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        budget_seconds=20,
        startup_seconds=90,
        startup_free_seconds=10,
        preflight_seconds=0,
        sequence_length=256,
        vocab_size=2048,
        evaluation_tokens=131_072,
        screen_positions=96,
        corpus_megabytes=16,
        memory_mb=6_000,
        scratch_mb=2_000,
    ),
    "laptop": Preset(
        budget_seconds=300,
        startup_seconds=180,
        startup_free_seconds=60,
        preflight_seconds=1,
        sequence_length=256,
        vocab_size=2048,
        evaluation_tokens=1_048_576,
        screen_positions=512,
        corpus_megabytes=64,
        memory_mb=12_000,
        scratch_mb=8_000,
        knobs={"WIDTH": 128, "COMPILE": True},
    ),
    "h100": Preset(
        budget_seconds=300,
        startup_seconds=300,
        # Compiling anew in every job: 35 to 60 s with 16 workers, 90 to 130 s with rung 2's one.
        # Estimates, not measured.
        startup_free_seconds=180,
        preflight_seconds=2,
        sequence_length=2048,
        vocab_size=8192,
        evaluation_tokens=20_971_520,
        screen_positions=1_024,
        corpus_megabytes=4_000,
        memory_mb=0,
        scratch_mb=40_000,
        # An estimate, not measured: 128 rows of 2,048 tokens would take about 60 GB.
        row_memory_mb=470,
        # Where the public record stands: karpathy/autoresearch, branch exp/H100/mar8, came from
        # 0.9979 to 0.9697 bpb with this budget on this card and corpus; its issue #243 repeated
        # that at width 512, from 0.9976 to 0.9771. These are their measurements on their trainer,
        # carried over into the units of this one: nobody has measured them here.
        knobs={
            # Sizes and windows: −0.0043, −0.0003 and −0.0009.
            "DEPTH": 9,
            "WIDTH": 640,
            "HEAD_WIDTH": 128,
            "WINDOW_PATTERN": "SSSSL",
            "SHORT_WINDOW_SHARE": 0.125,
            "DEVICE_BATCH_SIZE": 128,
            "TOTAL_BATCH_TOKENS": 262_144,
            "COMPILE": True,
            # In turn: embeddings −0.0033, head −0.0010, RoPE −0.0012, warm-down −0.0006 or more.
            "EMBEDDING_LEARNING_RATE": 3.1,
            "HEAD_LEARNING_RATE": 0.017,
            "MATRIX_LEARNING_RATE": 0.04,
            "SCALAR_LEARNING_RATE": 0.5,
            "RESIDUAL_LEARNING_RATE": 0.005,
            "MUON_MOMENTUM": 0.95,
            "ADAM_BETA1": 0.8,
            "ROPE_BASE": 200_000.0,
            "WARM_DOWN_SHARE": 0.75,
            # Where training begins: −0.0008 and −0.0006; the momentum's ramp, −0.0003, was
            # published for 200 steps and is a tenth of the budget here.
            "INPUT_SHARE": 0.05,
            "INITIAL_SCALE": 0.68,
            "MOMENTUM_RAMP": 0.1,
            # Decay: a constant 0.1 was 0.0016 worse than falling from 0.2 to 0; AdamW's decays
            # gained −0.0016, then −0.0005.
            "WEIGHT_DECAY_FALL": 1.0,
            "EMBEDDING_WEIGHT_DECAY": 0.001,
            "VALUE_EMBEDDING_WEIGHT_DECAY": 0.003,
            "HEAD_WEIGHT_DECAY": 0.01,
        },
    ),
}


def recorded_settings(values: Mapping[str, Any]) -> "SessionSettings":
    """The settings that a record names.

    Raises:
        UsageError: a newer Nightlab wrote it, with settings that this one does not know.
    """
    try:
        return SessionSettings.model_validate(values)
    except ValidationError as error:
        names = ", ".join(str(each["loc"][0]) for each in error.errors() if each["loc"])
        raise UsageError(
            f"Study {values.get('study')!r} was recorded by another version of Nightlab, whose "
            f"settings this one does not understand ({names}): update this clone."
        ) from None


class SessionSettings(BaseModel):
    """One session of a study: everything that a person may set, and nothing secret."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True
    )

    study: str = Field(
        "first-light",
        description="Name of the study; an existing one is continued, with the preset, budget and "
        "corpus it was begun with",
    )
    remote: str | None = Field(
        None, description="Git remote to fetch the study from and push it to, such as origin"
    )
    preset: Literal["quick", "laptop", "h100"] = Field(
        "quick",
        description="Sizes of budget, sequences, vocabulary and evaluation: quick to try things "
        "out, laptop for a CPU or a small GPU, h100 for a large GPU",
    )
    trials: int | None = Field(
        None,
        ge=0,
        description="Number of trials in this session, not counting the baseline (default: no "
        "limit)",
    )
    hours: float | None = Field(
        None, gt=0, description="Start no new trial after this many hours (default: no limit)"
    )
    max_cost_usd: float | None = Field(
        None,
        ge=0,
        description="Most dollars to spend on models in this session; a call that might cost more "
        "than is left is not made",
    )
    max_model_tokens: int | None = Field(
        None,
        ge=0,
        description="Most tokens for models in this session, prompts and answers together",
    )
    max_model_calls: int | None = Field(
        None, ge=0, description="Most calls to models in this session"
    )
    max_study_cost_usd: float | None = Field(
        None, ge=0, description="Most dollars to spend on models in the whole study"
    )
    max_study_model_tokens: int | None = Field(
        None, ge=0, description="Most tokens for models in the whole study"
    )
    max_study_model_calls: int | None = Field(
        None, ge=0, description="Most calls to models in the whole study"
    )
    budget_seconds: float | None = Field(
        None,
        gt=0,
        le=LONGEST_SECONDS,
        description="Training time of one replicate, in seconds (default: the preset's). With a "
        f"token budget, a cap on it (default: {TOKEN_BUDGET_CAP:g} times the preset's)",
    )
    budget_tokens: int | None = Field(
        None,
        gt=0,
        description="Training tokens of one replicate, as a budget in place of seconds: for "
        "machines whose speed varies",
    )
    startup_seconds: float | None = Field(
        None,
        gt=0,
        le=LONGEST_SECONDS,
        description="Longest time a candidate may take to start up, in seconds (default: the "
        "preset's)",
    )
    startup_free_seconds: float | None = Field(
        None,
        ge=0,
        le=LONGEST_SECONDS,
        description="Seconds of start-up that are free; a candidate that needs longer has the rest "
        "taken off its budget (default: the preset's)",
    )
    preflight_seconds: float | None = Field(
        None,
        ge=0,
        le=LONGEST_SECONDS,
        description="Length of the dry run on random tokens that a candidate makes before its "
        "budget starts, in seconds of training; 0 for none (default: the preset's)",
    )
    proposer: Literal["auto", "knobs", "llm", "hybrid", "command"] = Field(
        "auto",
        description="Where ideas come from: knobs (Optuna tunes the declared constants), llm (a "
        "model), command (a program that edits the file) or hybrid (Optuna and one of the other "
        "two, with the trials divided by what each gains); auto takes llm or command if a model or "
        "a command is set, otherwise knobs",
    )
    model: str | None = Field(
        None,
        description="Name of a model that litellm knows, such as openai/gpt-5, or several "
        "separated by commas, each asked more often the more it has gained for its price (default: "
        "the environment variable NIGHTLAB_MODEL)",
    )
    api_base: str | None = Field(
        None,
        description="Base address of the models' endpoint; a model written as NAME@ADDRESS has its "
        "own (default: the environment variable NIGHTLAB_API_BASE, or the provider's address)",
    )
    api_key_secret: str | None = Field(
        None, description="Name of a Prefect Secret block that holds the models' key"
    )
    model_timeout_seconds: float = Field(
        90,
        gt=0,
        le=LONGEST_SECONDS,
        description="Longest wait for one answer from a model, in seconds",
    )
    command: str | None = Field(
        None,
        description="For the proposers command and hybrid: a shell command that edits "
        "trainer/train.py in its working folder and finds its task in the file named by the "
        "environment variable NIGHTLAB_BRIEF",
    )
    command_timeout_seconds: float = Field(
        600,
        gt=0,
        le=LONGEST_SECONDS,
        description="Longest time the command may take for one edit, in seconds",
    )
    prefetch: bool = Field(
        True, description="Ask a model for the next idea while the current trial trains"
    )
    prune: bool = Field(
        True, description="Stop training a candidate early when it has little chance of being kept"
    )
    confirm_replicates: int = Field(
        3,
        ge=0,
        description="At the end of the session, train the baseline and the incumbent this many "
        "times each with fresh seeds and score them on the holdout split; 0 to skip this",
    )
    corpus: str = Field(
        "embedded",
        description="Text to train on: embedded (Python code that every installation has), "
        "path:DIR (a folder of yours), climbmix, or climbmix:URL for a mirror of it",
    )
    device: str = Field("auto", description="Device to train on: auto, cpu, cuda or cuda:N")
    seed: int = Field(
        0, ge=0, lt=2**31, description="Seed from which every replicate's seed is drawn"
    )
    require_rung: Literal["1", "1n", "2"] = Field(
        "2",
        description="Weakest sandbox to accept, from strong to weak: 1 for bubblewrap, 1n for the "
        "same without /proc, 2 for Landlock",
    )
    trust_candidate: bool = Field(
        False, description="Run candidates without a sandbox: only for code that you trust"
    )
    program: str = Field("program.md", description="Path of the research brief in the repository")

    @field_validator("study")
    @classmethod
    def _study_is_a_ref(cls, value: str) -> str:
        if not 0 < len(value) <= LONGEST_STUDY_NAME or not all(
            c.isascii() and (c.isalnum() or c in "-_") for c in value
        ):
            raise ValueError(
                "a study's name needs letters, digits, '-' and '_' only "
                f"(it becomes a git branch), {LONGEST_STUDY_NAME} at most"
            )
        return value

    @field_validator("model")
    @classmethod
    def _models_hold_no_secret(cls, value: str | None) -> str | None:
        for part in (value or "").split(","):
            _, at, address = part.partition("@http")
            cls._address_holds_no_secret(f"http{address}" if at else None)
        return value

    @field_validator("api_base", "corpus")
    @classmethod
    def _address_holds_no_secret(cls, value: str | None) -> str | None:
        problem = address_problem(value or "")
        if problem is not None:
            raise ValueError(problem)
        return value

    @property
    def sizes(self) -> Preset:
        """The preset, with what was set by hand in its place."""
        preset = PRESETS[self.preset]
        seconds = self.budget_seconds
        if seconds is None and self.budget_tokens is not None:
            seconds = TOKEN_BUDGET_CAP * preset.budget_seconds
        by_hand = {
            "budget_seconds": seconds,
            "budget_tokens": self.budget_tokens,
            "startup_seconds": self.startup_seconds,
            "startup_free_seconds": self.startup_free_seconds,
            "preflight_seconds": self.preflight_seconds,
        }
        given = {name: value for name, value in by_hand.items() if value is not None}
        return preset.model_copy(update=given)


class Places(Frozen):
    """Where this machine keeps things. Nothing is written outside of these and git."""

    root: Path
    """The clone: its git, its trainer/, its program.md."""
    cache: Path
    """Corpora, compile caches, locks, Prefect's own files."""
    tracking_uri: str
    """MLflow's store; a file in mlruns/ unless an address is set."""
    mlruns: Path
    """Reports, and MLflow's store where it is local."""

    @classmethod
    def find(cls, root: Path | None = None, env: Mapping[str, str] | None = None) -> "Places":
        """Find the clone from ``root`` (default: the working directory) upwards.

        Raises:
            UsageError: there is no Nightlab clone there.
        """
        environment = os.environ if env is None else env
        start = (root or Path.cwd()).resolve()
        for folder in (start, *start.parents):
            if (folder / TRAINER_FILE).is_file() and (folder / ".git").exists():
                break
        else:
            raise UsageError(
                "Nightlab runs inside a git clone of itself (a folder with .git and "
                f"{TRAINER_FILE}), and found none at {start} or above: cd into your clone."
            )
        cache = environment.get("NIGHTLAB_CACHE")
        mlruns = folder / "mlruns"
        local = f"sqlite:///{mlruns / 'mlflow.db'}"
        tracking = environment.get("NIGHTLAB_TRACKING_URI") or environment.get(
            "MLFLOW_TRACKING_URI"
        )
        return cls(
            root=folder,
            cache=Path(cache).expanduser() if cache else platformdirs.user_cache_path("nightlab"),
            tracking_uri=tracking or local,
            mlruns=mlruns,
        )

    @property
    def tracking_is_local(self) -> bool:
        """Whether MLflow's store is the file in ``mlruns/``."""
        return self.tracking_uri == f"sqlite:///{self.mlruns / 'mlflow.db'}"

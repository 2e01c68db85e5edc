"""What a session is asked to do.

These are pydantic models, so that the command line, Prefect's form and the tests all
validate alike. They never hold a key: Prefect stores and shows flow
parameters, so keys come from the environment or a Prefect Secret block.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nightlab.presets import PRESETS, Preset
from nightlab.settings.groups import arranged
from nightlab.settings.named import StudyName, address_problem, named_keys

LONGEST_SECONDS = 1_000_000
"""Eleven days; the system's waiting calls accept no more than twenty-four."""
LONGEST_HOURS = LONGEST_SECONDS / 3600

WAIT_FOR_MODEL_HOURS = 8.0
"""A night: how long a session that has no hours of its own waits for a provider that is away."""

TOKEN_BUDGET_CAP = 3.0
"""The wall-clock cap of a token budget, as a multiple of the preset's seconds, where no other is
set: it is there to end what hangs, not to judge what happens to be slow today."""


class Settings(BaseModel):
    """Everything that a person may set for a session of any study, and nothing secret."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        json_schema_extra=arranged,
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
    api_key_secret: str | dict[str, str] | None = Field(
        None,
        description="Where models' keys are, and whom each is for: NAME=PROVIDER or NAME=ADDRESS, "
        "several separated by commas; NAME is a Prefect Secret block, or env:VARIABLE for a "
        "variable of the environment; NAME alone where all models are at one place (default: each "
        "provider's own variable, for the provider's own address)",
    )
    model_timeout_seconds: float = Field(
        600,
        gt=0,
        le=LONGEST_SECONDS,
        description="Longest wait for one whole answer from a model, in seconds; one that stops in "
        "the middle is given up earlier",
    )
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = Field(
        None,
        description="How long models are to think before they answer: none, minimal, low, medium, "
        "high or xhigh, as far as the provider knows it (default: the provider's)",
    )
    wait_for_model_hours: float | None = Field(
        None,
        ge=0,
        le=LONGEST_HOURS,
        description="How long the session waits for models none of which answers, in hours, before "
        f"it ends (default: as long as --hours, else {WAIT_FOR_MODEL_HOURS:g})",
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
    keep_probability: float = Field(
        0.9,
        gt=0.5,
        lt=1,
        description="Keep a change once it is better with this probability; lower finds more in a "
        "night, with more false keeps among it",
    )
    approve: Literal["nothing", "keeps"] = Field(
        "nothing",
        description="What waits for a person's word (`nightlab approve`) before it is on the "
        "study's branch: nothing or keeps (the study goes on from them)",
    )
    confirm_replicates: int = Field(
        3,
        ge=0,
        description="At the end of the session, train the baseline and the incumbent this many "
        "times each with fresh seeds and score them on the holdout split, or fewer where the gain "
        "is sure before; 0 to skip this",
    )
    corpus: str = Field(
        "embedded",
        description="Text to train on: embedded (Python code that every installation has), "
        "path:DIR (a folder of text, JSON lines or Parquet; a relative one begins at the clone's "
        "root), climbmix, or climbmix:URL for a mirror of it",
    )
    device: str = Field("auto", description="Device to train on: auto, cpu, cuda or cuda:N")
    seed: int = Field(
        0, ge=0, lt=2**31, description="Seed that all replicates' seeds are derived from"
    )
    require_rung: Literal["1", "1n", "2"] = Field(
        "2",
        description="Weakest sandbox to accept, from strong to weak: 1 for bubblewrap, 1n for the "
        "same without /proc, 2 for Landlock",
    )
    trust_candidate: bool = Field(
        False, description="Run candidates without a sandbox: only for code that you trust"
    )
    kept_models: Literal["all", "champion", "none"] = Field(
        "all",
        description="Which trained models to keep, of the baseline and of what is kept: all of "
        "them, champion (the baseline's and the incumbent's) or none at all",
    )
    kept_models_mb: int = Field(
        8_192,
        ge=0,
        description="Most disk for kept models in this machine's cache, in MiB, of all studies "
        "together: the oldest go first, baselines and champions last",
    )
    push_hours: float = Field(
        1,
        ge=0,
        le=LONGEST_HOURS,
        description="If the remote cannot be reached when the session ends, go on trying to push "
        "for this many hours",
    )
    wait_for_study_hours: float = Field(
        1,
        ge=0,
        le=LONGEST_HOURS,
        description="If another machine's session holds the study, wait for it for this many hours",
    )
    wait_for_prefect_hours: float = Field(
        1.0,
        ge=0,
        le=LONGEST_HOURS,
        description="Longest wait for a Prefect server that went away, in hours, before the "
        "session ends",
    )
    program: str = Field("program.md", description="Path of the research brief in the repository")

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

    @field_validator("api_key_secret")
    @classmethod
    def _keys_are_named(cls, value: str | dict[str, str] | None) -> str | dict[str, str] | None:
        for place in named_keys(value):
            cls._address_holds_no_secret(place)
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
        if self.budget_seconds is not None and self.budget_tokens is None:
            # What a second more or less of training changes grows as the budget shrinks. How far it
            # falls with a longer one is not known, and other noise does not.
            share = max(1.0, preset.budget_seconds / self.budget_seconds)
            given["pair_noise_bpb"] = share * preset.pair_noise_bpb
        return preset.model_copy(update=given)


class SessionSettings(Settings):
    """The settings of one session, with the study that it works on.

    In flows and deployments these two are parameters of their own: whoever passes ``settings``
    there replaces all of them, and neither a study nor its remote may be lost by that.
    """

    study: StudyName = Field(
        "first-light",
        description="Name of the study; an existing one is continued, with the preset, budget and "
        "corpus it was begun with",
    )
    remote: str | None = Field(
        None, description="Git remote to fetch the study from and push it to, such as origin"
    )

    @classmethod
    def of(cls, study: str, remote: str | None, settings: Settings) -> "SessionSettings":
        """Put together what a flow was given."""
        given = settings.model_dump(exclude_unset=True)
        return cls.model_validate({**given, "study": study, "remote": remote})

    @property
    def without_study(self) -> Settings:
        """What was set of the others, as a flow takes them."""
        given = self.model_dump(exclude_unset=True, exclude={"study", "remote"})
        return Settings.model_validate(given)

"""Presets: sizes that belong together, each for a kind of machine."""

from pydantic import Field

from nightlab.records import Frozen


class Preset(Frozen):
    """Sizes that belong together: a machine, a budget, a corpus and an evaluation."""

    budget_seconds: float
    """Training seconds of one replicate (of the processors on a CPU, of the wall clock on a GPU);
    under a token budget their cap."""
    budget_tokens: int | None = None
    """Training tokens of one replicate; None where seconds are counted."""
    startup_seconds: float
    """Cap on start-up, on the wall clock: imports, compilation, warm-up."""
    startup_free_seconds: float
    """Start-up that is not charged to the budget. Anything longer is, or a candidate could use it
    to train on whatever its sandbox can read."""
    preflight_seconds: float
    """Training seconds of the dry run on random tokens that a candidate makes first; 0 for none."""
    sequence_length: int
    vocab_size: int
    evaluation_tokens: int
    pair_noise_bpb: float
    """Standard deviation of the difference that a pair of trainings with one seed is usually off
    by: a study's own pairs count beside it."""
    screen_positions: int
    """Secret positions that a candidate's first audit asks for; see evaluation/audit.py."""
    corpus_megabytes: int
    """How much text the corpus takes in, at most."""
    memory_mb: int
    """Memory of all processes of a candidate together; 0 for no limit."""
    scratch_mb: int
    """Disk space of a candidate's work folder: checkpoints (two stand while one is replaced)
    and compile caches."""
    needs_gpu: bool = False
    """Whether a CPU could not make a single step of it within its budget and memory."""
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


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        budget_seconds=20,
        startup_seconds=90,
        startup_free_seconds=10,
        preflight_seconds=0,
        sequence_length=256,
        vocab_size=2048,
        evaluation_tokens=65_536,
        pair_noise_bpb=0.006,
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
        pair_noise_bpb=0.003,  # an estimate, not measured
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
        pair_noise_bpb=0.001,  # an estimate, not measured
        screen_positions=1_024,
        corpus_megabytes=4_000,
        memory_mb=0,
        scratch_mb=40_000,
        needs_gpu=True,
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

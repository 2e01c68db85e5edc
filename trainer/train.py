"""A small GPT and its training, in one file: the only file that a study edits.

What the engine asks of this file, and all it asks:

* ``build_model(spec)`` gives a module whose ``forward(tokens)`` takes int64 ``[batch, time]``
  and returns float32 logits ``[batch, time, vocabulary]``; the logits at a position may
  depend on the tokens up to that position only, and not on the other rows of the batch.
* ``main()`` trains through ``runtime`` and saves the weights with ``run.save(model)``.
* The UPPERCASE constants below are *knobs* where their comment starts with a range or a
  choice: the knob proposer moves them, and a new study starts with its preset's sizes.

Everything before the first batch is start-up and costs no budget. The iterator of batches
ends by itself when it is time to save, and ``run.fraction`` is the share of the budget that
is gone: the schedules follow that clock, not a number of steps.

The ideas are others', the code is not: the shape of the model (parameter-free RMSNorm,
normalised queries and keys, squared ReLU, value embeddings, scaled residuals, capped
logits, short and long attention windows) follows the modded-nanogpt speedruns and nanochat;
RoPE is Su et al. 2021; squared ReLU is Primer, So et al. 2021; value embeddings go back to
Zhou et al. 2024; Muon is Jordan et al. 2024, orthogonalising as in Polar Express, Amsel et
al. 2025; decay only where it agrees with the step is Chen et al. 2025 ("cautious").
"""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import runtime
import torch
import torch.nn.functional as F  # noqa: N812 - the name every reader of torch code knows
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

# --- The model ---------------------------------------------------------------------------

DEPTH = 4  # 1..12; blocks, each an attention and a feed-forward layer
WIDTH = 64  # one of 32, 64, 96, 128, 192, 256, 384, 512, 640, 768; channels of the stream
HEAD_WIDTH = 32  # channels of an attention head; WIDTH must be a multiple of it
FEED_FORWARD_RATIO = 4  # 2..8; hidden channels of a feed-forward layer, in units of WIDTH
WINDOW_PATTERN = "L"  # one of "L", "SL", "SSL", "SSSL", "SSSSL"; windows, repeated over the blocks
SHORT_WINDOW_SHARE = 0.5  # 0.0625..0.5 log; share; an S window, of the sequence length
VALUE_EMBEDDING_EVERY = 2  # 0..4; every n-th block, counted from the last, has one; 0: none
ROPE_BASE = 10_000.0  # 500.0..500000.0 log; longest wavelength of the rotary positions
ATTENTION_SHARPNESS = 1.0  # 0.5..2.0 log; factor on the scores of normalised queries and keys
LOGIT_CAP = 15.0  # 5.0..60.0 log; logits stay within plus and minus this
INITIAL_SCALE = 1.0  # of the blocks' matrices and the value embeddings before the first step
INPUT_SHARE = 0.1  # how much of the embedded tokens each block is given again, at the start

# --- The optimisation --------------------------------------------------------------------
# Learning rates of embeddings and head are meant for 64 channels: see `wider`.

MATRIX_LEARNING_RATE = 0.05  # 0.005..0.3 log; Muon: matrices inside the blocks
EMBEDDING_LEARNING_RATE = 2.0  # 0.05..10.0 log; AdamW: token and value embeddings
HEAD_LEARNING_RATE = 0.04  # 0.0005..0.2 log; AdamW: the matrix that makes logits
SCALAR_LEARNING_RATE = 0.1  # 0.001..1.0 log; AdamW: what is mixed into stream and values
RESIDUAL_LEARNING_RATE = 0.01  # 0.0005..0.5 log; AdamW: the scale of the stream itself
MATRIX_WEIGHT_DECAY = 0.2  # 0.0..1.0; Muon's, a share of its learning rate
EMBEDDING_WEIGHT_DECAY = 0.0  # AdamW's, like those of the next two
VALUE_EMBEDDING_WEIGHT_DECAY = 0.0
HEAD_WEIGHT_DECAY = 0.0
WEIGHT_DECAY_FALL = 0.0  # share of Muon's weight decay that is gone when the budget is
MUON_MOMENTUM = 0.9  # 0.8..0.98
MOMENTUM_RAMP = 0.0  # how much lower it begins; it rises over the first tenth of the budget
ADAM_BETA1 = 0.7  # 0.5..0.95
ADAM_BETA2 = 0.95  # 0.9..0.999
WARM_UP_SHARE = 0.0  # 0.0..0.2; share of the budget in which learning rates rise from 0
WARM_DOWN_SHARE = 0.5  # 0.1..0.8; share of the budget, at its end, in which they fall
FINAL_LEARNING_RATE_SHARE = 0.05  # 0.0..0.3; what they fall to

# --- The machine -------------------------------------------------------------------------
# No knobs but one: what is sane here differs by a factor of a hundred between machines.

DEVICE_BATCH_SIZE = 8  # rows at once; TOTAL_BATCH_TOKENS must be a multiple of its tokens
TOTAL_BATCH_TOKENS = 2_048  # 256..1_048_576 log; tokens of one optimiser step
COMPILE = False  # torch.compile: faster steps, a start-up of up to minutes
TRAINING_PRECISION = "probe"  # "probe", "float32" or "bfloat16"
ORTHOGONAL_PRECISION = "probe"  # the same, for Muon's matrix products


def check_settings(spec: runtime.Spec) -> None:
    """Refuse constants that do not go together, before any work is done.

    Raises:
        ValueError: with one sentence that names the constants and what they must satisfy.
    """
    if DEPTH < 1:
        raise ValueError(f"DEPTH must be at least 1, found {DEPTH}")
    if HEAD_WIDTH < 2 or HEAD_WIDTH % 2:
        raise ValueError(f"HEAD_WIDTH must be even, for rotary pairs, found {HEAD_WIDTH}")
    if WIDTH < HEAD_WIDTH or WIDTH % HEAD_WIDTH:
        raise ValueError(
            f"WIDTH must be a multiple of HEAD_WIDTH, found WIDTH {WIDTH} and "
            f"HEAD_WIDTH {HEAD_WIDTH}"
        )
    if not WINDOW_PATTERN or set(WINDOW_PATTERN) - set("SL"):
        raise ValueError(
            f"WINDOW_PATTERN must be letters S (short) and L (long), found {WINDOW_PATTERN!r}"
        )
    if WARM_UP_SHARE + WARM_DOWN_SHARE > 1:
        raise ValueError(
            "WARM_UP_SHARE and WARM_DOWN_SHARE must fit into one budget, found "
            f"{WARM_UP_SHARE} + {WARM_DOWN_SHARE}"
        )
    if INITIAL_SCALE <= 0:
        raise ValueError(f"INITIAL_SCALE must be above 0, found {INITIAL_SCALE}")
    for name, share, most in (
        ("EMBEDDING_WEIGHT_DECAY", EMBEDDING_WEIGHT_DECAY, 1),
        ("VALUE_EMBEDDING_WEIGHT_DECAY", VALUE_EMBEDDING_WEIGHT_DECAY, 1),
        ("HEAD_WEIGHT_DECAY", HEAD_WEIGHT_DECAY, 1),
        ("WEIGHT_DECAY_FALL", WEIGHT_DECAY_FALL, 1),
        ("MOMENTUM_RAMP", MOMENTUM_RAMP, MUON_MOMENTUM),
    ):
        if not 0 <= share <= most:
            raise ValueError(f"{name} must lie between 0 and {most}, found {share}")
    for name, value in (
        ("TRAINING_PRECISION", TRAINING_PRECISION),
        ("ORTHOGONAL_PRECISION", ORTHOGONAL_PRECISION),
    ):
        if value not in ("probe", "float32", "bfloat16"):
            raise ValueError(f"{name} must be probe, float32 or bfloat16, found {value!r}")
    device_batch_tokens = DEVICE_BATCH_SIZE * spec.sequence_length
    if DEVICE_BATCH_SIZE < 1 or device_batch_tokens > TOTAL_BATCH_TOKENS:
        raise ValueError(
            f"TOTAL_BATCH_TOKENS {TOTAL_BATCH_TOKENS} is smaller than one device batch of "
            f"{device_batch_tokens} tokens (DEVICE_BATCH_SIZE {DEVICE_BATCH_SIZE} times sequence "
            f"length {spec.sequence_length}): raise the first or lower DEVICE_BATCH_SIZE"
        )
    if TOTAL_BATCH_TOKENS % device_batch_tokens:
        raise ValueError(
            f"TOTAL_BATCH_TOKENS must be whole device batches of {device_batch_tokens} tokens "
            f"(DEVICE_BATCH_SIZE {DEVICE_BATCH_SIZE} times sequence length "
            f"{spec.sequence_length}), found {TOTAL_BATCH_TOKENS}"
        )


# --- Parts of the model ------------------------------------------------------------------


class Linear(nn.Module):
    """A matrix product without bias that computes in the precision of its input.

    The weights stay float32, which the optimisers need; the cast is fused when compiled.
    They start uniform with standard deviation ``INITIAL_SCALE / sqrt(channels_in)``, or at zero.
    """

    def __init__(self, channels_in: int, channels_out: int, *, zero: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(channels_out, channels_in))
        if not zero:
            bound = INITIAL_SCALE * math.sqrt(3 / channels_in)
            nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, stream: Tensor) -> Tensor:
        """Map the last dimension from ``channels_in`` to ``channels_out``."""
        return F.linear(stream, self.weight.to(stream.dtype))


def normalise(stream: Tensor) -> Tensor:
    """Bring the last dimension to root mean square 1, without parameters."""
    return F.rms_norm(stream, (stream.shape[-1],))


def rotary_tables(length: int, channels: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's rotation, each float32 ``[length, channels / 2]``."""
    frequencies = ROPE_BASE ** -(torch.arange(0, channels, 2, dtype=torch.float32) / channels)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


def rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair of channels (first half with second half) by its position's angle.

    Args:
        heads: ``[batch, time, head, channels]``.
        cosine: ``[time, 1, channels / 2]``, in the precision of ``heads``.
        sine: Alike.
    """
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, first * sine + second * cosine), dim=-1)


def short_window(sequence_length: int) -> int:
    """How many positions an S window spans, the query's own among them."""
    return max(1, round(SHORT_WINDOW_SHARE * sequence_length))


def window_of(block: int, sequence_length: int) -> int:
    """How many positions a block's queries see at most; the last block always sees all."""
    letter = WINDOW_PATTERN[block % len(WINDOW_PATTERN)]
    is_short = letter == "S" and block != DEPTH - 1
    return short_window(sequence_length) if is_short else sequence_length


def has_value_embedding(block: int) -> bool:
    """Whether a block adds an embedding of the token itself to its values."""
    return VALUE_EMBEDDING_EVERY > 0 and (DEPTH - 1 - block) % VALUE_EMBEDDING_EVERY == 0


class Attention(nn.Module):
    """Causal attention over many heads, with normalised queries and keys."""

    def __init__(self) -> None:
        super().__init__()
        self.query = Linear(WIDTH, WIDTH)
        self.key = Linear(WIDTH, WIDTH)
        self.value = Linear(WIDTH, WIDTH)
        self.output = Linear(WIDTH, WIDTH, zero=True)

    def forward(
        self,
        stream: Tensor,
        extra_value: Tensor | None,
        rotation: tuple[Tensor, Tensor],
        window: Tensor | BlockMask | None,
    ) -> Tensor:
        """Mix positions.

        Args:
            stream: ``[batch, time, WIDTH]``, as the result is.
            extra_value: Added to the values, of the same shape.
            rotation: Cosines and sines, see ``rotate``.
            window: What queries may look at, as a mask ``[time, time]`` or, to be fast when
                compiled, in FlexAttention's form; None for all that is not later.
        """
        batch, length, _ = stream.shape
        shape = (batch, length, WIDTH // HEAD_WIDTH, HEAD_WIDTH)
        # Turned after the norm, which a rotation keeps, a compiler reads and writes both once.
        query = rotate(normalise(self.query(stream).view(shape)), *rotation)
        key = rotate(normalise(self.key(stream).view(shape)), *rotation)
        value = self.value(stream)
        if extra_value is not None:
            value = value + extra_value
        value = value.view(shape)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        scale = ATTENTION_SHARPNESS / math.sqrt(HEAD_WIDTH)
        if isinstance(window, BlockMask):
            mixed: Tensor = flex_attention(query, key, value, block_mask=window, scale=scale)
        else:
            mixed = F.scaled_dot_product_attention(
                query, key, value, attn_mask=window, is_causal=window is None, scale=scale
            )
        result: Tensor = self.output(mixed.transpose(1, 2).reshape(batch, length, WIDTH))
        return result


class FeedForward(nn.Module):
    """Two matrices with a squared ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = Linear(WIDTH, FEED_FORWARD_RATIO * WIDTH)
        self.contract = Linear(FEED_FORWARD_RATIO * WIDTH, WIDTH, zero=True)

    def forward(self, stream: Tensor) -> Tensor:
        """Work on every position by itself, ``[batch, time, WIDTH]`` to the same."""
        result: Tensor = self.contract(F.relu(self.expand(stream)).square())
        return result


class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()
        self.feed_forward = FeedForward()

    def forward(
        self,
        stream: Tensor,
        extra_value: Tensor | None,
        rotation: tuple[Tensor, Tensor],
        window: Tensor | BlockMask | None,
    ) -> Tensor:
        """Take the stream ``[batch, time, WIDTH]`` one block further."""
        stream = stream + self.attention(normalise(stream), extra_value, rotation, window)
        result: Tensor = stream + self.feed_forward(normalise(stream))
        return result


# --- The whole model ---------------------------------------------------------------------


class Model(nn.Module):
    """Tokens to logits.

    Before each block the stream is scaled (``residual_lambda``) and a share of the embedded
    tokens is added again (``input_lambda``); value embeddings enter with ``value_lambda``.
    """

    cosine: Tensor
    sine: Tensor
    window_mask: Tensor | None

    def __init__(self, spec: runtime.Spec) -> None:
        super().__init__()
        self.sequence_length = spec.sequence_length
        self.compute_dtype = torch.float32
        self.is_loss_by_hand = False
        self.embedding = nn.Embedding(spec.vocab_size, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.value_embeddings = nn.ModuleDict()
        for index in filter(has_value_embedding, range(DEPTH)):
            table = nn.Embedding(spec.vocab_size, WIDTH)
            nn.init.normal_(table.weight, std=INITIAL_SCALE / math.sqrt(WIDTH))
            self.value_embeddings[str(index)] = table
        self.head = Linear(WIDTH, spec.vocab_size)
        nn.init.normal_(self.head.weight, std=0.001)
        self.residual_lambda = nn.Parameter(torch.ones(DEPTH))
        self.input_lambda = nn.Parameter(torch.full((DEPTH,), INPUT_SHARE))
        self.value_lambda = nn.Parameter(torch.ones(DEPTH))
        cosine, sine = rotary_tables(spec.sequence_length, HEAD_WIDTH)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)
        windows = [window_of(block, spec.sequence_length) for block in range(DEPTH)]
        self.is_short = [window < spec.sequence_length for window in windows]
        mask = window_mask(spec.sequence_length, min(windows)) if any(self.is_short) else None
        self.register_buffer("window_mask", mask, persistent=False)
        self.window_blocks: BlockMask | None = None

    def window(self, block: int, length: int) -> Tensor | BlockMask | None:
        """What a block's queries may look at in sequences of ``length`` positions."""
        if not self.is_short[block] or self.window_mask is None:
            return None
        if self.training and self.window_blocks is not None and length == self.sequence_length:
            return self.window_blocks
        return self.window_mask[:length, :length]

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        """Predict the next token at every position.

        Args:
            tokens: int64 ``[batch, time]``, ``time`` at most ``spec.sequence_length``.
            targets: The next tokens, of the same shape.

        Returns:
            Without targets the logits, float32 ``[batch, time, vocabulary]``; with them the
            mean loss in nats per token, a float32 scalar.
        """
        length = tokens.shape[1]
        dtype = self.compute_dtype
        rotation = (self.cosine[:length, None].to(dtype), self.sine[:length, None].to(dtype))
        stream = start = normalise(self.embedding(tokens).to(dtype))
        for index, block in enumerate(self.blocks):
            stream = self.residual_lambda[index] * stream + self.input_lambda[index] * start
            extra_value = None
            if has_value_embedding(index):
                table = self.value_embeddings[str(index)]
                extra_value = self.value_lambda[index] * table(tokens).to(dtype)
            stream = block(stream, extra_value, rotation, self.window(index, length))
        logits = self.head(normalise(stream)).float()
        if targets is None:
            return capped(logits)
        # A compiler fuses the plain form as well by itself.
        is_by_hand = self.is_loss_by_hand and not torch.compiler.is_compiling()
        loss = loss_by_hand if is_by_hand else plain_loss
        return loss(logits.flatten(0, 1), targets.flatten())


def capped(logits: Tensor) -> Tensor:
    """Keep logits within plus and minus the cap."""
    return LOGIT_CAP * torch.tanh(logits / LOGIT_CAP)


def plain_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean loss, in nats, of logits ``[rows, vocabulary]`` before the cap: an edit begins here."""
    return F.cross_entropy(capped(logits), targets)


class LossByHand(torch.autograd.Function):
    """The cap on the logits and their cross-entropy, as one step with its own gradient.

    Operation by operation these take a CPU as long as all products of matrices do; here 256
    rows at a time stay in its cache.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of logits, float32 ``[rows, vocabulary]``, before the cap."""
        gradient, total = torch.empty_like(logits), logits.new_zeros(())
        for first in range(0, len(logits), 256):
            rows, right = slice(first, first + 256), targets[first : first + 256, None]
            part = logits[rows].div(LOGIT_CAP).tanh_()
            chances = part.mul(LOGIT_CAP).exp_()  # no maximum is taken off: the cap is low
            sums = chances.sum(-1, keepdim=True)
            total += (sums.log() - LOGIT_CAP * part.gather(1, right)).sum()
            chances.div_(sums).scatter_add_(1, right, torch.full_like(sums, -1))
            torch.mul(part.square_().neg_().add_(1), chances, out=gradient[rows])
        ctx.save_for_backward(gradient)
        return total / len(logits)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Scale what ``forward`` found."""
        if torch.is_grad_enabled():  # asked for with create_graph
            raise RuntimeError("loss_by_hand has no second derivative: use the plain form")
        (found,) = ctx.saved_tensors
        return found.mul_(gradient / len(found)), None


loss_by_hand: Callable[[Tensor, Tensor], Tensor] = LossByHand.apply


def does_loss_by_hand_agree() -> bool:
    """Whether it still computes the plain loss: where an edit changed that, that is used."""
    if LOGIT_CAP > 60:  # an exponential might overflow
        return False
    logits, targets = torch.linspace(-40, 40, 64).view(4, 16), torch.arange(4)
    found = []
    for loss in (plain_loss, loss_by_hand):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf, targets)
        found.append(torch.cat((value.view(1), torch.autograd.grad(value, leaf)[0].flatten())))
    return torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


def window_mask(length: int, window: int) -> Tensor:
    """Bool ``[length, length]``, query by key: the key is one of the last ``window`` positions."""
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    return (distance >= 0) & (distance < window)


def window_blocks(length: int, window: int, device: str) -> BlockMask:
    """The same rule as ``window_mask``, in FlexAttention's block-sparse form."""

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (query - key < window)

    return create_block_mask(sees, None, None, length, length, device=device)


def build_model(spec: runtime.Spec) -> Model:
    """Make the model with fresh weights, on ``spec.device``.

    It computes in bfloat16 where the GPU has it and in float32 elsewhere, so that an
    evaluation gives the same logits however the weights were trained.

    Raises:
        ValueError: the constants above do not go together.
    """
    check_settings(spec)
    model = Model(spec).to(spec.device)
    model.compute_dtype = evaluation_dtype(spec.device)
    model.is_loss_by_hand = spec.device == "cpu" and does_loss_by_hand_agree()
    return model


# --- Precision ---------------------------------------------------------------------------


def evaluation_dtype(device: str) -> torch.dtype:
    """The precision for a device when nothing was measured."""
    if device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float32


def matrix_product_seconds(dtype: torch.dtype) -> float:
    """Best of a few timings of one 256-cubed matrix product on the CPU, in seconds."""
    left, right = torch.ones(2, 256, 256, dtype=dtype).unbind()
    best = math.inf
    for _ in range(4):
        begin = time.perf_counter()
        torch.mm(left, right)
        best = min(best, time.perf_counter() - begin)
    return best


def choose_dtype(device: str, setting: str) -> torch.dtype:
    """Settle on a precision: bfloat16 is 4 times faster on one CPU, 200 times slower on another.

    Args:
        device: ``cpu`` or ``cuda``.
        setting: ``float32`` or ``bfloat16`` decide; ``probe`` takes what the GPU supports,
            or on a CPU bfloat16 only where a timed product is at least twice as fast.
    """
    if setting != "probe":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[setting]
    if device.startswith("cuda"):
        return evaluation_dtype(device)
    slow, fast = matrix_product_seconds(torch.float32), matrix_product_seconds(torch.bfloat16)
    return torch.bfloat16 if 2 * fast <= slow else torch.float32


# --- Optimisers --------------------------------------------------------------------------

# Odd polynomials a·x + b·x³ + c·x⁵ that, one after the other, bring singular values in
# [0.001, 1] close to 1. Fitted for this file: each is the minimax fit of 1 on the interval
# that the one before leaves, widened by 1 % for what rounding to bfloat16 does.
ORTHOGONAL_POLYNOMIALS = (
    (8.3869, -24.3713, 17.7264),
    (4.1430, -3.0186, 0.5526),
    (3.9365, -2.8794, 0.5378),
    (3.2934, -2.4242, 0.4873),
    (2.2953, -1.6420, 0.4044),
)


def orthogonalise(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Keep the singular vectors of each matrix and bring its singular values near 1.

    Args:
        matrices: ``[count, rows, columns]``; all are worked on at once.
        dtype: Precision of the matrix products.

    Returns:
        ``[count, rows, columns]`` in ``dtype``.
    """
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    result = matrices.to(dtype)
    if is_tall:  # the products below are then of the smaller size
        result = result.mT
    # The Frobenius norm bounds the largest singular value.
    result = result / (1.01 * result.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for linear, cubic, quintic in ORTHOGONAL_POLYNOMIALS:
        gram = result @ result.mT
        factor = torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic)
        result = torch.baddbmm(result, factor, result, beta=linear)
    return result.mT if is_tall else result


class Muon(torch.optim.Optimizer):
    """Momentum whose steps are orthogonalised, for matrices; equal shapes go together."""

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
    ) -> None:
        shapes: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in matrices:
            shapes.setdefault(matrix.shape, []).append(matrix)
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "dtype": dtype}
        super().__init__([{"params": group} for group in shapes.values()], defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step with the gradients as they stand."""
        for group in self.param_groups:
            matrices: list[Tensor] = group["params"]
            gradients = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
            state = self.state[matrices[0]]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(gradients)
            momentum = state["momentum"].lerp_(gradients, 1 - group["momentum"])
            ahead = gradients.lerp_(momentum, group["momentum"])  # Nesterov's look-ahead
            update = orthogonalise(ahead, group["dtype"]).to(ahead.dtype)
            rows, columns = update.shape[-2:]
            update *= math.sqrt(max(1, rows / columns))
            if group["weight_decay"]:
                weights = torch.stack(matrices)
                agrees = weights * update > 0
                update += group["weight_decay"] * weights * agrees
            torch._foreach_add_(matrices, list(update.unbind()), alpha=-group["lr"])


def wider(learning_rate: float) -> float:
    """Carry AdamW's learning rate from 64 channels to WIDTH, by the inverse square root."""
    return learning_rate * math.sqrt(64 / WIDTH)


def build_optimizers(model: Model, orthogonal_dtype: torch.dtype) -> list[torch.optim.Optimizer]:
    """Give every parameter to exactly one group of one optimiser."""
    groups: list[dict[str, Any]] = [
        {
            "params": [model.embedding.weight],
            "lr": wider(EMBEDDING_LEARNING_RATE),
            "weight_decay": EMBEDDING_WEIGHT_DECAY,
        },
        {
            "params": [*model.value_embeddings.parameters()],
            "lr": wider(EMBEDDING_LEARNING_RATE),
            "weight_decay": VALUE_EMBEDDING_WEIGHT_DECAY,
        },
        {
            "params": [model.head.weight],
            "lr": wider(HEAD_LEARNING_RATE),
            "weight_decay": HEAD_WEIGHT_DECAY,
        },
        {"params": [model.input_lambda, model.value_lambda], "lr": SCALAR_LEARNING_RATE},
        {"params": [model.residual_lambda], "lr": RESIDUAL_LEARNING_RATE},
    ]
    adam = torch.optim.AdamW(
        groups, betas=(ADAM_BETA1, ADAM_BETA2), eps=1e-10, weight_decay=0.0, fused=True
    )
    muon = Muon(
        model.blocks.parameters(),
        lr=MATRIX_LEARNING_RATE,
        momentum=MUON_MOMENTUM,
        weight_decay=MATRIX_WEIGHT_DECAY,
        dtype=orthogonal_dtype,
    )
    optimizers: list[torch.optim.Optimizer] = [adam, muon]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def schedule(fraction: float) -> float:
    """Share of the peak learning rates when ``fraction`` of the budget is gone, 0..1."""
    if fraction < WARM_UP_SHARE:
        return fraction / WARM_UP_SHARE
    left = min(1.0, (1 - fraction) / WARM_DOWN_SHARE)
    return FINAL_LEARNING_RATE_SHARE + (1 - FINAL_LEARNING_RATE_SHARE) * left


def follow_clock(muon: torch.optim.Optimizer, fraction: float) -> None:
    """Set what of Muon besides its learning rate depends on the budget that is gone."""
    for group in muon.param_groups:
        group["weight_decay"] = muon.defaults["weight_decay"] * (1 - WEIGHT_DECAY_FALL * fraction)
        group["momentum"] = muon.defaults["momentum"] - MOMENTUM_RAMP * max(0, 1 - 10 * fraction)


# --- Training ----------------------------------------------------------------------------


def flops_per_token(model: Model) -> int:
    """Floating-point operations of one trained token, as papers count them for MFU.

    Forward and backward together cost 6 for every weight of a matrix (embeddings are looked
    up and cost none) and 12 · WIDTH · window in every block for the scores and the mixing;
    as in PaLM's appendix B, the masked half of causal attention counts too.
    """
    matrices = sum(matrix.numel() for matrix in model.blocks.parameters())
    matrices += model.head.weight.numel()
    length = model.sequence_length
    attention = sum(12 * WIDTH * window_of(block, length) for block in range(DEPTH))
    return 6 * matrices + attention


class Reporter:
    """Reports every step, one step late.

    The copy of a loss to the host is asked for when its step is launched and waited for
    after the next one is: a GPU always has work, and Python is never more than a step ahead
    of it, so that the clock which ends the training tells the truth.
    """

    def __init__(self, run: runtime.Run, model: Model) -> None:
        self._run = run
        self._flops_per_token = flops_per_token(model)
        self._num_params = sum(parameter.numel() for parameter in model.parameters())
        self._waiting: tuple[int, float, Tensor] | None = None
        self._arrived = None
        if run.spec.device.startswith("cuda"):
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def step(self, step: int, learning_rate: float, loss: Tensor) -> None:
        """Take in a step's loss, a scalar on the device, and report the step before it."""
        copy = loss.to("cpu", non_blocking=True)
        self.flush()
        if self._arrived is not None:
            self._arrived.record()
        self._waiting = (step, learning_rate, copy)

    def flush(self) -> None:
        """Report the step that is still waiting, if one is.

        Raises:
            FloatingPointError: its loss is not finite.
        """
        if self._waiting is None:
            return
        step, learning_rate, loss = self._waiting
        self._waiting = None
        if self._arrived is not None:
            self._arrived.synchronize()
        self._run.report(
            step,
            loss.item(),
            step * TOTAL_BATCH_TOKENS,
            learning_rate=learning_rate,
            flops_per_token=self._flops_per_token,
            num_params=self._num_params,
        )


def take_step(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Step at ``share`` of the peak learning rates, and forget the gradients."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = share * group["peak_lr"]
        optimizer.step()
        optimizer.zero_grad()


def warm_up(
    run: runtime.Run, loss_of: Callable[..., Tensor], optimizers: list[torch.optim.Optimizer]
) -> None:
    """Do all that is slow the first time (compilation, allocation) on random tokens.

    Two whole steps at learning rate 0 leave every weight as it was; what the optimisers
    remember of them is dropped.
    """
    for _ in range(2):
        torch.autograd.backward(loss_of(*run.synthetic_batch(DEVICE_BATCH_SIZE)))
        take_step(optimizers, 0.0)
    for optimizer in optimizers:
        optimizer.state.clear()


def train(run: runtime.Run) -> Model:
    """Train until the budget is gone, save, and return the model."""
    spec = run.spec
    torch.manual_seed(run.seed)
    model = build_model(spec).train()
    model.compute_dtype = choose_dtype(spec.device, TRAINING_PRECISION)
    optimizers = build_optimizers(model, choose_dtype(spec.device, ORTHOGONAL_PRECISION))
    loss_of: Callable[..., Tensor] = model
    if COMPILE:
        if spec.device.startswith("cuda") and any(model.is_short):
            window = short_window(spec.sequence_length)
            model.window_blocks = window_blocks(spec.sequence_length, window, spec.device)
        loss_of = torch.compile(model, dynamic=False)
    warm_up(run, loss_of, optimizers)
    run.rehearse_save(model)

    reporter = Reporter(run, model)
    accumulation = TOTAL_BATCH_TOKENS // (DEVICE_BATCH_SIZE * spec.sequence_length)
    loss_sum = torch.zeros((), device=spec.device)
    for batch_number, (inputs, targets) in enumerate(run.batches(DEVICE_BATCH_SIZE), start=1):
        loss = loss_of(inputs, targets) / accumulation
        torch.autograd.backward(loss)
        loss_sum = loss_sum + loss.detach()
        if batch_number % accumulation:
            continue
        follow_clock(optimizers[1], run.fraction)
        share = schedule(run.fraction)
        take_step(optimizers, share)
        reporter.step(batch_number // accumulation, share * MATRIX_LEARNING_RATE, loss_sum)
        loss_sum = torch.zeros_like(loss_sum)
    reporter.flush()
    run.save(model)
    return model


def main() -> None:
    """Train through the engine's runtime."""
    train(runtime.connect())


if __name__ == "__main__":
    main()

"""The trainer, seen from outside: every check runs in a process of its own."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.trainer.child import TRAIN_FILE, TRAINER, in_child


def test_logits_have_the_contracts_form_in_every_precision() -> None:
    seen = in_child("""
        module = load()
        model = filled(module)
        model.head.weight.data *= 10
        seen = []
        for dtype in (torch.float32, torch.bfloat16):
            model.compute_dtype = dtype
            for batch, length in ((2, 32), (5, 7), (1, 1)):
                with torch.no_grad():
                    logits = model(some_tokens(batch, length))
                seen.append([list(logits.shape), str(logits.dtype), logits.abs().max().item()])
        answer({"seen": seen, "cap": module.LOGIT_CAP})
    """)
    shapes = [[2, 32, 50], [5, 7, 50], [1, 1, 50]]
    assert [shape for shape, _, _ in seen["seen"]] == shapes * 2
    assert {dtype for _, dtype, _ in seen["seen"]} == {"torch.float32"}
    largest = [value for _, _, value in seen["seen"]]
    assert max(largest) <= seen["cap"]
    assert max(largest) > 0.9 * seen["cap"], "the weights of this test must reach the cap"


@pytest.mark.parametrize("pattern", ["L", "SL", "SSSL", "SSSSL"])
def test_a_token_changes_no_logits_before_it_nor_in_other_rows(pattern: str) -> None:
    changes = in_child(f"""
        model = filled(load(WINDOW_PATTERN={pattern!r}, DEPTH=4))
        changes = []
        for position in (0, 13, 31):
            tokens = some_tokens()
            other = tokens.clone()
            other[0, position] = (other[0, position] + 1) % 50
            with torch.no_grad():
                change = (model(tokens) - model(other)).abs().amax(-1)
            before = change[0, :position].max().item() if position else 0.0
            changes.append([before, change[0, position].item(), change[1].max().item()])
        answer(changes)
    """)
    for before, at, other_row in changes:
        assert before == 0
        assert other_row == 0
        assert at > 0.01


def test_the_model_equals_a_naive_reference_with_windows() -> None:
    """The reference goes head by head and query by query, in float64, from the definition."""
    result = in_child("""
        module = load(WINDOW_PATTERN="SL", DEPTH=4, SHORT_WINDOW_SHARE=0.25, LOGIT_CAP=30.0,
                      VALUE_EMBEDDING_EVERY=2, ATTENTION_SHARPNESS=1.3)
        model = filled(module)
        tokens = some_tokens(2)
        weights = {name: value.double() for name, value in model.state_dict().items()}

        def rms(x):
            return x / (x.square().mean(-1, keepdim=True) + 1e-7).sqrt()

        def turned(x):  # [time, 16]; pairs are (i, i + 8), turned as complex numbers
            rates = module.ROPE_BASE ** (-torch.arange(8).double() / 8)
            angles = torch.outer(torch.arange(len(x)).double(), rates)
            turns = torch.polar(torch.ones_like(angles), angles)
            pairs = torch.complex(x[:, :8], x[:, 8:]) * turns
            return torch.cat([pairs.real, pairs.imag], -1)

        def attend(q, k, v, window):
            q, k = turned(rms(q)), turned(rms(k))
            rows = []
            for t in range(len(q)):
                first = max(0, t - window + 1)
                scores = k[first:t + 1] @ q[t] * 1.3 / 4
                rows.append(torch.softmax(scores, 0) @ v[first:t + 1])
            return torch.stack(rows)

        def reference(row, windows):
            start = x = rms(weights["embedding.weight"][row])
            for i, window in enumerate(windows):
                name = f"blocks.{i}."
                x = weights["residual_lambda"][i] * x + weights["input_lambda"][i] * start
                y = rms(x)
                q, k, v = (y @ weights[f"{name}attention.{part}.weight"].T
                           for part in ("query", "key", "value"))
                if i in (1, 3):
                    table = weights[f"value_embeddings.{i}.weight"]
                    v = v + weights["value_lambda"][i] * table[row]
                heads = [attend(q[:, h], k[:, h], v[:, h], window)
                         for h in (slice(0, 16), slice(16, 32))]
                x = x + torch.cat(heads, -1) @ weights[name + "attention.output.weight"].T
                hidden = torch.relu(rms(x) @ weights[name + "feed_forward.expand.weight"].T) ** 2
                x = x + hidden @ weights[name + "feed_forward.contract.weight"].T
            return 30 * torch.tanh(rms(x) @ weights["head.weight"].T / 30)

        with torch.no_grad():
            logits = model(tokens)
            blocks = module.window_blocks(32, 8, "cpu")
            model.window_blocks, model.training = blocks, True
            flexible = model(tokens)
        def distance(windows):
            expected = torch.stack([reference(row, windows) for row in tokens])
            return (logits - expected).abs().max().item()
        answer({"windowed": distance([8, 32, 8, 32]), "full": distance([32] * 4),
                "flexible": (logits - flexible).abs().max().item()})
    """)
    assert result["windowed"] < 1e-2
    assert result["flexible"] < 1e-2
    assert result["full"] > 0.1, "the windows must matter for this test to mean anything"


@pytest.mark.parametrize("cap", [5.0, 15.0, 60.0])
def test_the_loss_by_hand_has_the_value_and_the_gradient_of_the_plain_form(cap: float) -> None:
    """Rows are no multiple of 256, and weights so large that logits come near the cap."""
    result = in_child(f"""
        module = load(LOGIT_CAP={cap}, WINDOW_PATTERN="SL")
        model, tokens, targets = filled(module), some_tokens(20), some_tokens(20, seed=2)
        by_hand, calls = module.loss_by_hand, []
        def counted(logits, targets):
            calls.append(list(logits.shape))
            return by_hand(logits, targets)
        module.loss_by_hand = counted
        def plain(logits, targets):
            return F.cross_entropy({cap} * torch.tanh(logits / {cap}), targets)
        def gradients(form, dtype):
            module.loss_by_hand, model.compute_dtype = form, dtype
            model.zero_grad()
            loss = model(tokens, targets)
            (loss / 3).backward()
            found = {{name: each.grad.double() for name, each in model.named_parameters()}}
            return loss.item(), found
        def errors(first, second):
            worst = max((second[1][name] - gradient).norm().item() / gradient.norm().item()
                        for name, gradient in first[1].items())
            return [abs(first[0] - second[0]) / first[0], worst]
        answer({{"float32": errors(gradients(plain, torch.float32),
                                   gradients(counted, torch.float32)),
                 "bfloat16": errors(gradients(plain, torch.bfloat16),
                                    gradients(counted, torch.bfloat16)),
                 "calls": calls}})
    """)
    assert result["calls"] == [[640, 50]] * 2
    assert max(result["float32"]) < 1e-5
    assert max(result["bfloat16"]) < 1e-2


def test_the_loss_by_hand_stands_aside_where_a_compiler_works_and_for_caps_too_high() -> None:
    result = in_child("""
        tokens, targets, found = some_tokens(), some_tokens(seed=2), {}
        for cap in (60.0, 61.0):
            module = load(LOGIT_CAP=cap)
            model, by_hand, calls = filled(module), module.loss_by_hand, []
            module.loss_by_hand = lambda *given: calls.append(0) or by_hand(*given)
            compiled = torch.compile(model, backend="eager", fullgraph=True)
            logits = model(tokens)
            wanted = F.cross_entropy(logits.flatten(0, 1), targets.flatten()).item()
            found[cap] = [compiled(tokens, targets).item() / wanted, len(calls)]
            found[cap] += [model(tokens, targets).item() / wanted, len(calls)]
        answer(found)
    """)
    assert result["60.0"] == [pytest.approx(1, abs=1e-5), 0, pytest.approx(1, abs=1e-5), 1]
    assert result["61.0"] == [pytest.approx(1, abs=1e-5), 0, pytest.approx(1, abs=1e-5), 0]


def test_a_gradient_by_hand_is_never_wrong_without_a_word() -> None:
    """It is scaled in place and differentiated once: what asks for more is refused by autograd."""
    messages = in_child("""
        def refusal(use):
            module = load()
            model = filled(module)
            loss = model(some_tokens(), some_tokens(seed=2))
            try:
                use(loss, model.head.weight)
            except RuntimeError as error:
                return str(error)
        def backward_twice(loss, weight):
            loss.backward(retain_graph=True)
            loss.backward()
        def second_order(loss, weight):
            (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
            gradient.square().sum().backward()
        answer([refusal(backward_twice), refusal(second_order)])
    """)
    assert "modified by an inplace operation" in messages[0]
    assert "no second derivative" in messages[1]


def test_logits_outlive_the_loss_by_hand() -> None:
    """An edit may add another term that reads them."""
    same = in_child("""
        module = load()
        logits = torch.randn(300, 64)
        before = logits.clone()
        loss = module.loss_by_hand(logits.requires_grad_(), torch.zeros(300, dtype=torch.long))
        loss.backward()
        answer(torch.equal(logits, before))
    """)
    assert same is True


def test_a_rotation_before_or_after_the_norm_is_the_same() -> None:
    result = in_child("""
        module = load()
        heads = torch.randn(3, 32, 2, 16, generator=torch.Generator().manual_seed(0))
        cosine, sine = (table[:, None] for table in module.rotary_tables(32, 16))
        after = module.rotate(module.normalise(heads), cosine, sine)
        before = module.normalise(module.rotate(heads, cosine, sine))
        answer([(after - before).abs().max().item(), (after - heads).abs().max().item()])
    """)
    assert result[0] < 1e-5
    assert result[1] > 0.1


def test_starting_values_follow_their_constants() -> None:
    result = in_child("""
        def spreads(**constants):
            torch.manual_seed(0)
            model = load(**constants).build_model(CPU)
            parts = (model.blocks[0].attention.query, model.blocks[0].feed_forward.expand,
                     model.value_embeddings["2"], model.embedding, model.head)
            return [part.weight.std().item() for part in parts], model.input_lambda.tolist()
        answer([spreads(), spreads(INITIAL_SCALE=0.68, INPUT_SHARE=0.05)])
    """)
    (before, input_before), (after, input_after) = result
    scales = [now / then for now, then in zip(after, before, strict=True)]
    assert scales == pytest.approx([0.68, 0.68, 0.68, 1, 1])
    assert before[0] == pytest.approx(1 / math.sqrt(32), rel=0.05)
    assert (input_before, input_after) == (pytest.approx([0.1] * 3), pytest.approx([0.05] * 3))


def test_decay_and_momentum_follow_the_budget_where_they_are_asked_to() -> None:
    result = in_child("""
        def seen(**constants):
            module = load(**constants)
            _, muon = module.build_optimizers(module.build_model(CPU), torch.float32)
            values = []
            for fraction in (0.0, 0.05, 0.1, 0.5, 1.0):
                module.follow_clock(muon, fraction)
                values.append([[group["weight_decay"], group["momentum"]]
                               for group in muon.param_groups][-1])
            return values
        def ramped():
            module, run, found = load(MOMENTUM_RAMP=0.1), TestRun(steps=4, rows_per_step=4), []
            step = module.Muon.step
            def spied(muon):
                found.append(muon.param_groups[0]["momentum"])
                step(muon)
            module.Muon.step = spied
            run.batches = lambda size, give=run.batches: (
                setattr(run, "fraction", run.fraction / 20) or batch for batch in give(size))
            module.train(run)
            return found[2:]
        answer([seen(), seen(WEIGHT_DECAY_FALL=1.0, MOMENTUM_RAMP=0.1), ramped()])
    """)
    assert result[0] == [[0.2, 0.9]] * 5
    assert result[1] == [
        pytest.approx(pair)
        for pair in ([0.2, 0.8], [0.19, 0.85], [0.18, 0.9], [0.1, 0.9], [0.0, 0.9])
    ]
    assert result[2] == sorted(set(result[2])), "each step's momentum is higher than the last's"


def test_each_table_decays_by_its_own_constant() -> None:
    result = in_child("""
        module = load(EMBEDDING_WEIGHT_DECAY=0.1, VALUE_EMBEDDING_WEIGHT_DECAY=0.2,
                      HEAD_WEIGHT_DECAY=0.3)
        model = module.build_model(CPU)
        adam, _ = module.build_optimizers(model, torch.float32)
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        rates = {names[id(parameter)]: group["lr"] for group in adam.param_groups
                 for parameter in group["params"]}
        adam.step()
        answer({name: (1 - (value / before[name]).mean().item()) / rates[name]
                for name, value in model.named_parameters() if name in rates})
    """)
    assert {name: decay for name, decay in result.items() if decay} == {
        "embedding.weight": pytest.approx(0.1, rel=1e-3),
        "value_embeddings.0.weight": pytest.approx(0.2, rel=1e-3),
        "value_embeddings.2.weight": pytest.approx(0.2, rel=1e-3),
        "head.weight": pytest.approx(0.3, rel=1e-3),
    }


def test_weights_load_strictly_into_a_fresh_model() -> None:
    result = in_child("""
        module = load(WINDOW_PATTERN="SL")
        model = filled(module)
        fresh = module.build_model(CPU).eval()
        fresh.load_state_dict(model.state_dict(), strict=True)
        with torch.no_grad():
            difference = (model(some_tokens()) - fresh(some_tokens())).abs().max().item()
        answer({"difference": difference, "parameters": sorted(dict(model.named_parameters())),
                "names": sorted(model.state_dict())})
    """)
    assert result["difference"] == 0
    assert result["names"] == result["parameters"], "tables are computed, not saved"


def test_training_learns_reports_and_saves() -> None:
    result = in_child("""
        module = load(DEPTH=2, VALUE_EMBEDDING_EVERY=1)
        run = TestRun(steps=60, rows_per_step=4)
        model = module.train(run)
        fresh = module.build_model(CPU)
        fresh.load_state_dict(run.saved, strict=True)
        answer({"reports": run.reports, "rehearsed": run.rehearsed,
                "parameters": sum(p.numel() for p in model.parameters())})
    """)
    reports = result["reports"]
    assert [report["step"] for report in reports] == list(range(1, 61))
    assert [report["tokens"] for report in reports] == [128 * step for step in range(1, 61)]
    assert reports[0]["loss"] == pytest.approx(math.log(50), abs=0.05)
    assert reports[-1]["loss"] < 0.5
    assert reports[0]["num_params"] == result["parameters"]
    rates = [report["learning_rate"] for report in reports]
    assert rates[0] == max(rates)
    assert rates[-1] == pytest.approx(0.05 * rates[0])
    assert result["rehearsed"] == 1
    # 2 blocks of 12 · 32² weights, the head of 32 · 50, attention over 32 positions.
    assert reports[0]["flops_per_token"] == 6 * (2 * 12 * 32**2 + 32 * 50) + 2 * 12 * 32 * 32


def test_accumulation_and_compilation_change_speed_and_not_the_training() -> None:
    """Compiled with the backend that only captures graphs: the real one takes a minute."""
    losses = in_child("""
        import functools
        def losses(seed=0, **constants):
            run = TestRun(steps=5, rows_per_step=4, seed=seed)
            load(WINDOW_PATTERN="SL", **constants).train(run)
            assert not [name for name in run.saved if "_orig_mod" in name]
            return [report["loss"] for report in run.reports]
        result = {"once": losses(), "again": losses(), "seed": losses(seed=1)}
        result["accumulated"] = losses(DEVICE_BATCH_SIZE=1)
        torch.compile = functools.partial(torch.compile, backend="eager", fullgraph=True)
        result["compiled"] = losses(COMPILE=True)
        answer(result)
    """)
    assert losses["once"] == losses["again"]
    assert losses["once"] != losses["seed"]
    # Adam divides rounding noise by its own size where gradients are near 0: hence the room.
    assert losses["accumulated"] == pytest.approx(losses["once"], abs=2e-2)
    assert losses["compiled"] == pytest.approx(losses["once"], abs=1e-2)


def test_warm_up_leaves_weights_and_optimisers_as_they_were() -> None:
    result = in_child("""
        module = load()
        torch.manual_seed(0)
        model = module.build_model(CPU)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        optimizers = module.build_optimizers(model, torch.float32)
        module.warm_up(TestRun(1, 4), model, optimizers)
        answer({"same": all(torch.equal(value, before[name])
                            for name, value in model.state_dict().items()),
                "state": sum(len(optimizer.state) for optimizer in optimizers),
                "gradients": [name for name, p in model.named_parameters() if p.grad is not None]})
    """)
    assert result == {"same": True, "state": 0, "gradients": []}


@pytest.mark.parametrize("every", [0, 2])
def test_every_parameter_is_in_exactly_one_optimizer_group(every: int) -> None:
    result = in_child(f"""
        module = load(VALUE_EMBEDDING_EVERY={every})
        model = module.build_model(CPU)
        optimizers = module.build_optimizers(model, torch.float32)
        grouped = [id(parameter) for optimizer in optimizers
                   for group in optimizer.param_groups for parameter in group["params"]]
        names = {{id(parameter): name for name, parameter in model.named_parameters()}}
        muon = [names[id(parameter)] for group in optimizers[1].param_groups
                for parameter in group["params"]]
        answer({{"grouped": sorted(names[key] for key in grouped), "all": sorted(names.values()),
                 "muon": muon}})
    """)
    assert result["grouped"] == result["all"]
    assert all(name.startswith("blocks.") for name in result["muon"])
    assert len(result["muon"]) == 3 * 6


def test_muon_steps_have_singular_values_near_one() -> None:
    result = in_child("""
        module = load()
        torch.manual_seed(0)
        outcomes = []
        for rows, columns in ((32, 32), (96, 24), (24, 96)):
            matrices = torch.randn(3, rows, columns)
            left, values, right = torch.linalg.svd(matrices, full_matrices=False)
            matrices[2] = left[2] * torch.logspace(0, -1.5, values.shape[-1]) @ right[2]
            for dtype in (torch.float32, torch.bfloat16):
                result = module.orthogonalise(1000 * matrices, dtype).float()
                kept = (left.mT @ result @ right.mT).diagonal(dim1=-2, dim2=-1)
                after = torch.linalg.svdvals(result)
                outcomes.append([str(dtype), after.min().item(), after.max().item(),
                                 kept.min().item()])
        zero = module.orthogonalise(torch.zeros(1, 8, 8), torch.float32)
        answer({"outcomes": outcomes, "zero": zero.abs().max().item()})
    """)
    for dtype, smallest, largest, kept in result["outcomes"]:
        room = 0.15 if dtype == "torch.float32" else 0.3
        assert 1 - room < smallest <= largest < 1 + room, result["outcomes"]
        assert kept > 1 - room - 0.05, "the singular vectors must stay the matrix's own"
    assert result["zero"] == 0


def test_the_processor_decides_the_precision_unless_it_is_set() -> None:
    result = in_child("""
        module = load()
        def chosen(float32, bfloat16, setting="probe"):
            seconds = {torch.float32: float32, torch.bfloat16: bfloat16}
            module.matrix_product_seconds = seconds.__getitem__
            return str(module.choose_dtype("cpu", setting))
        measured = module.matrix_product_seconds(torch.float32)
        answer({"measured": measured, "slow": chosen(1.0, 200.0), "equal": chosen(1.0, 0.9),
                "fast": chosen(4.0, 1.0), "set": chosen(4.0, 1.0, "float32")})
    """)
    assert result.pop("measured") > 0
    assert result == {
        "slow": "torch.float32",
        "equal": "torch.float32",
        "fast": "torch.bfloat16",
        "set": "torch.float32",
    }


def test_constants_that_do_not_go_together_are_refused_with_a_sentence() -> None:
    messages = in_child("""
        def message(**constants):
            try:
                load(**constants).build_model(CPU)
            except ValueError as error:
                return str(error)
        answer([
            message(WIDTH=40),
            message(WIDTH=8),
            message(HEAD_WIDTH=1),
            message(DEPTH=0),
            message(WINDOW_PATTERN="SX"),
            message(WARM_UP_SHARE=0.6, WARM_DOWN_SHARE=0.6),
            message(TOTAL_BATCH_TOKENS=64),
            message(TOTAL_BATCH_TOKENS=200),
            message(TRAINING_PRECISION="half"),
            message(INITIAL_SCALE=0.0),
            message(EMBEDDING_WEIGHT_DECAY=-0.1),
            message(VALUE_EMBEDDING_WEIGHT_DECAY=2),
            message(HEAD_WEIGHT_DECAY=-1),
            message(WEIGHT_DECAY_FALL=1.5),
            message(MOMENTUM_RAMP=0.95),
        ])
    """)
    needles = [
        "WIDTH must be a multiple of HEAD_WIDTH",
        "WIDTH must be a multiple of HEAD_WIDTH",
        "HEAD_WIDTH must be even",
        "DEPTH must be at least 1",
        "WINDOW_PATTERN must be letters S",
        "must fit into one budget",
        "TOTAL_BATCH_TOKENS 64 is smaller than one device batch of 128 tokens",
        "TOTAL_BATCH_TOKENS must be whole device batches of 128 tokens",
        "TRAINING_PRECISION must be probe",
        "INITIAL_SCALE must be above 0, found 0.0",
        "EMBEDDING_WEIGHT_DECAY must lie between 0 and 1, found -0.1",
        "VALUE_EMBEDDING_WEIGHT_DECAY must lie between 0 and 1, found 2",
        "HEAD_WEIGHT_DECAY must lie between 0 and 1, found -1",
        "WEIGHT_DECAY_FALL must lie between 0 and 1, found 1.5",
        "MOMENTUM_RAMP must lie between 0 and 0.9, found 0.95",
    ]
    for message, needle in zip(messages, needles, strict=True):
        assert message is not None
        assert needle in message


def test_training_through_the_runtime_by_hand(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"vocab_size": 300}))
    tokens = np.random.default_rng(0).integers(0, 300, 50_000).astype("<u2")
    tokens.tofile(tmp_path / "train.bin")
    command = [sys.executable, str(TRAINER / "runtime.py"), "--corpus", str(tmp_path)]
    command += ["--seconds", "2", "--output", str(tmp_path / "out"), str(TRAIN_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "checkpoint.pt").is_file()
    assert re.search(r"step +1 +loss 5\.\d+", done.stdout), done.stdout


@pytest.mark.gpu
def test_training_on_a_gpu_compiled_with_windows() -> None:
    result = in_child("""
        if not torch.cuda.is_available():
            answer(None)
            sys.exit()
        spec = runtime.Spec(vocab_size=512, sequence_length=256, device="cuda")
        module = load(WINDOW_PATTERN="SL", DEPTH=4, WIDTH=128, HEAD_WIDTH=64, COMPILE=True,
                      TRAINING_PRECISION="probe", ORTHOGONAL_PRECISION="probe",
                      DEVICE_BATCH_SIZE=8, TOTAL_BATCH_TOKENS=4096)
        run = TestRun(steps=60, rows_per_step=16, spec=spec)
        module.train(run)
        fresh = module.build_model(spec).eval()
        fresh.load_state_dict(run.saved, strict=True)
        with torch.no_grad():
            logits = fresh(next(run.batches(3))[0])
        answer({"losses": [report["loss"] for report in run.reports], "type": str(logits.dtype),
                "shape": list(logits.shape)})
    """)
    if result is None:
        pytest.skip("needs a CUDA device")
    assert result["losses"][-1] < 0.5 < result["losses"][0]
    assert result["type"] == "torch.float32"
    assert result["shape"] == [3, 256, 512]


def test_an_edit_of_the_plain_loss_or_of_the_cap_is_what_a_cpu_trains_on() -> None:
    agreed = in_child("""
        module = load()
        plain, cap = module.plain_loss, module.capped
        found = [module.does_loss_by_hand_agree()]
        module.plain_loss = lambda logits, targets: plain(logits, targets) + 1e-2 * logits.mean()
        found.append(module.does_loss_by_hand_agree())
        module.plain_loss, module.capped = plain, lambda logits: 15 * torch.sin(logits / 15)
        found.append(module.does_loss_by_hand_agree())
        module.capped = cap
        found.append(module.build_model(CPU).is_loss_by_hand)
        answer(found)
    """)
    assert agreed == [True, False, False, True]

"""score.py's parts in this process; the whole of it is tested in test_evaluation.py."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")

TRAINER = Path(__file__).parents[2] / "trainer"


@pytest.fixture
def score(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINER))
    return importlib.import_module("score")


class Table(torch.nn.Module):
    def __init__(self, size: int = 5) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(size, size))

    def forward(self, tokens):
        return self.table[tokens].bfloat16()


def module(**names) -> ModuleType:
    made = ModuleType("train")
    vars(made).update(names)
    return made


def test_losses_are_those_of_the_next_tokens(score):
    model, rows = Table(), torch.randint(5, (3, 7))
    losses = score.token_losses(model, rows, 5)
    logits = model.table.bfloat16().float()
    for row in range(3):
        for place in range(6):
            given, wanted = rows[row, place], rows[row, place + 1]
            expected = -torch.log_softmax(logits[given], dim=0)[wanted]
            assert losses[row, place] == pytest.approx(expected.item(), abs=1e-5)
    assert losses.dtype == torch.float32
    assert not losses.requires_grad


def test_logits_are_those_of_each_row_in_its_position(score):
    model, inputs = Table(), torch.randint(5, (3, 6))
    positions = torch.tensor([0, 5, 2])
    found = score.position_logits(model, inputs, positions, 5)
    wanted = model.table.bfloat16()[inputs[torch.arange(3), positions]].float()
    assert torch.equal(found, wanted)
    assert found.dtype == torch.float32


def test_a_question_is_answered_by_its_type(score):
    spec = importlib.import_module("runtime").Spec(5, 3, "cpu")
    model, rows = Table(), torch.randint(5, (2, 4))
    asked = {"type": "rows", "rows": 2, "length": 3}
    kind, numbers = score.answer(asked, rows.numpy().astype("<u2").tobytes(), model, spec)
    assert kind == "losses"
    assert torch.equal(numbers, score.token_losses(model, rows, 5))
    asked = {"type": "positions", "rows": 2, "length": 3, "positions": [1, 2]}
    inputs = rows[:, :3].contiguous()
    kind, numbers = score.answer(asked, inputs.numpy().astype("<u2").tobytes(), model, spec)
    assert kind == "logits"
    assert torch.equal(
        numbers, score.position_logits(model, inputs, torch.tensor(asked["positions"]), 5)
    )


@pytest.mark.parametrize("size", [4, 6])
def test_logits_of_another_vocabulary_are_refused(score, size):
    with pytest.raises(score.ContractError, match="must give logits"):
        score.token_losses(Table(size), torch.zeros(2, 3, dtype=torch.int64), 5)


def test_a_model_comes_back_with_its_weights_and_in_evaluation_mode(score, tmp_path):
    trained = Table()
    torch.save(trained.state_dict(), tmp_path / "checkpoint.pt")
    state = score.load_weights(tmp_path / "checkpoint.pt")
    spec = importlib.import_module("runtime").Spec(5, 7, "cpu")
    made = module(build_model=lambda spec: Table(spec.vocab_size))
    model = score.load_model(made, spec, state)
    assert torch.equal(model.table, trained.table)
    assert not model.training
    for broken in (module(), module(build_model=lambda spec: None)):
        with pytest.raises(score.ContractError, match="build_model"):
            score.load_model(broken, spec, state)
    with pytest.raises(score.ContractError, match="do not fit"):
        score.load_model(module(build_model=lambda s: Table(9)), spec, state)


@pytest.mark.parametrize(
    "state",
    [
        [torch.zeros(3)],
        torch.zeros(3),
        {"table": torch.zeros(3), "text": "some"},
        {"table": torch.zeros(100_000)[:10]},
    ],
    ids=["list", "tensor", "text", "view"],
)
def test_a_checkpoint_is_tensors_and_no_larger_than_they_are(score, tmp_path, state):
    torch.save(state, tmp_path / "checkpoint.pt")
    with pytest.raises(score.ContractError, match="the saved weights are"):
        score.load_weights(tmp_path / "checkpoint.pt")


@pytest.mark.parametrize(
    "state",
    [
        {f"layer.{n}".ljust(200, "x"): torch.zeros(3) for n in range(500)},
        {"one": torch.zeros(0), "half": torch.zeros(7, dtype=torch.bfloat16)},
    ],
    ids=["many", "small"],
)
def test_what_torch_writes_of_a_model_is_within_the_margin(score, tmp_path, state):
    torch.save(state, tmp_path / "checkpoint.pt")
    assert score.load_weights(tmp_path / "checkpoint.pt").keys() == state.keys()


def test_a_train_file_is_imported_as_a_module_that_dataclasses_find(score, tmp_path):
    source = tmp_path / "train.py"
    source.write_text(
        "from dataclasses import dataclass\n@dataclass\nclass A:\n    x: 'int' = 3\nmain = None\n"
    )
    assert score.load_module(source).A().x == 3

"""The recorded edits of bench/proposers.py: each applies to the trainer as it stands."""

from pathlib import Path

import pytest

from nightlab.proposers.llm.answer import read_answer
from tests.conftest import ROOT
from tests.trainer.child import in_child

EDITS = sorted((ROOT / "bench" / "structural_edits").glob("*.md"))


def test_there_are_enough_of_them() -> None:
    assert len(EDITS) >= 10


@pytest.mark.parametrize("path", EDITS, ids=lambda path: path.stem)
def test_each_applies_exactly(path: Path) -> None:
    source = (ROOT / "trainer" / "train.py").read_text()
    draft = read_answer(path.read_text(), "stop", source)
    assert draft.error is None
    assert draft.tolerated == ()
    assert draft.expected_bpb is not None
    assert draft.title not in ("", "An answer without a title")


@pytest.mark.parametrize("name", ["label-smoothing", "z-loss"])
def test_those_of_the_loss_change_what_a_cpu_trains_on(name: str, tmp_path: Path) -> None:
    """Which has the loss a second time, by hand: it stands aside where the plain one is edited."""
    source = (ROOT / "trainer" / "train.py").read_text()
    edit = read_answer((ROOT / "bench" / "structural_edits" / f"{name}.md").read_text(), "", source)
    (tmp_path / "edited.py").write_text(edit.source)
    losses = in_child(f"""
        def loss():
            model = filled(load()).train()
            return model(some_tokens(), some_tokens(seed=2)).item()
        before = loss()
        TRAIN_FILE = {str(tmp_path / "edited.py")!r}
        answer([before, loss()])
    """)
    assert abs(losses[1] - losses[0]) > 1e-3

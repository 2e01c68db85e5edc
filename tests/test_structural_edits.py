"""The recorded edits of bench/proposers.py: each applies to the trainer as it stands."""

from pathlib import Path

import pytest

from nightlab.proposers.answer import read_answer
from tests.conftest import ROOT

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

"""What a study begins with, and what is said of a train.py that is edited later."""

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nightlab import events
from nightlab.ledger import Ledger
from nightlab.presets import PRESETS
from nightlab.records import Edit, Proposal, Verdict
from nightlab.sandbox.device import Device
from nightlab.settings import SessionSettings
from nightlab.study.beginning import begin_study, first_source
from tests.conftest import ROOT, git
from tests.machine_samples import CARDS, Card
from tests.session_samples import finish_trial, keep_edit
from tests.study.begun import CPU


def constants(source: str) -> dict[str, Any]:
    assigned = (node for node in ast.parse(source).body if isinstance(node, ast.Assign))
    return {
        ast.unparse(node.targets[0]): node.value.value
        for node in assigned
        if isinstance(node.value, ast.Constant)
    }


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_new_study_fits_the_card_that_it_begins_on(card: Card) -> None:
    device = Device(
        name="cuda:0",
        description=card.name,
        threads=1,
        memory_mb=card.memory_mb,
        precision="bfloat16",
    )
    text = (ROOT / "trainer" / "train.py").read_text(encoding="utf-8")
    begun = constants(first_source(text, SessionSettings(preset="h100"), device))
    preset = PRESETS["h100"]
    assert begun["DEVICE_BATCH_SIZE"] == card.device_batch
    assert begun["TOTAL_BATCH_TOKENS"] == preset.knobs["TOTAL_BATCH_TOKENS"]
    tokens, rest = divmod(begun["TOTAL_BATCH_TOKENS"], card.device_batch * preset.sequence_length)
    assert (tokens >= 1, rest) == (True, 0), "accumulation makes up for what does not fit"
    assert begun["TRAINING_PRECISION"] == begun["ORTHOGONAL_PRECISION"] == "bfloat16"
    assert begun["DEPTH"] == preset.knobs["DEPTH"]


def test_a_precision_is_chosen_once_for_a_study() -> None:
    settings, device = SessionSettings(), CPU.model_copy(update={"precision": "float32"})
    text = (ROOT / "trainer" / "train.py").read_text(encoding="utf-8")
    assert constants(text)["TRAINING_PRECISION"] == "probe", "by hand it is measured each time"
    begun = constants(first_source(text, settings, device))
    assert begun["TRAINING_PRECISION"] == begun["ORTHOGONAL_PRECISION"] == "float32"
    assert first_source(text, settings, CPU) == text, "what was not measured is not settled"


@pytest.mark.parametrize(
    "text",
    [
        "DEPTH = 4\n",
        'TRAINING_PRECISION = "bfloat16"\n',
        'TRAINING_PRECISION = "probe"\nTRAINING_PRECISION = "probe"\n',
        "not python",
    ],
)
def test_a_train_file_of_ones_own_keeps_its_precision(text: str) -> None:
    device = CPU.model_copy(update={"precision": "float32"})
    assert first_source(text, SessionSettings(), device) == text


def test_only_a_new_study_is_given_constants(tmp_path: Path) -> None:
    text = 'DEPTH = 4\nTRAINING_PRECISION = "probe"  # or another\n'
    trainer = tmp_path / "trainer" / "train.py"
    trainer.parent.mkdir()
    trainer.write_text(text, encoding="utf-8")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "-qm", "Begin")
    ledger = Ledger(tmp_path, "s")
    session: Any = SimpleNamespace(
        ledger=ledger,
        settings=SessionSettings(study="s"),
        places=SimpleNamespace(root=tmp_path),
        device=CPU.model_copy(update={"precision": "float32"}),
    )
    begun = begin_study(session)
    assert ledger.source(begun) == text.replace('"probe"', '"float32"')
    assert trainer.read_text(encoding="utf-8") == text
    session.device = CPU.model_copy(update={"precision": "bfloat16"})
    assert begin_study(session) == begun
    assert ledger.source(ledger.incumbent()) == ledger.source(begun)


TEXT = 'DEPTH = 4\nTRAINING_PRECISION = "probe"  # or another\n'


class Clone:
    """A clone in which a study begins, and goes on."""

    def __init__(self, root: Path, line_end: str = "\n") -> None:
        self.file = root / "trainer" / "train.py"
        self.file.parent.mkdir(parents=True)
        self.root = root
        git(root, "init", "-q", "-b", "main")
        self.line_end = line_end
        git(root, "config", "core.autocrlf", "false" if line_end == "\n" else "true")
        self.edit(TEXT)
        self.commit()
        self.session: Any = SimpleNamespace(
            identifier="session",
            ledger=Ledger(root, "night"),
            settings=SessionSettings(study="night"),
            places=SimpleNamespace(root=root),
            device=CPU.model_copy(update={"precision": "float32"}),
        )

    def edit(self, text: str) -> None:
        self.file.write_text(text, encoding="utf-8", newline=self.line_end)

    def commit(self) -> None:
        git(self.root, "add", ".")
        words = ("-c", "user.name=A", "-c", "user.email=a@localhost", "commit", "-qm", "Edit")
        git(self.root, *words)

    def begin(self) -> list[str]:
        """Begin the study, or go on with it; what is said."""
        heard: list[events.Event] = []
        with events.listening(heard.append):
            begin_study(self.session)
        return [each.text for each in heard if isinstance(each, events.Notice)]


EDITED = (
    "trainer/train.py is not the file that study 'night' began with, and the study goes on from "
    "its own: `git diff nightlab/night -- trainer/train.py` shows the difference. To begin anew "
    "from yours, {}name another study with --study."
)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_as_it_was_is_not_worth_a_word(tmp_path: Path, line_end: str) -> None:
    clone = Clone(tmp_path, line_end)
    assert clone.begin() == []
    assert clone.begin() == []
    baseline = Proposal(title="baseline", proposer="baseline")
    finish_trial(clone.session, baseline, Verdict.KEEP)
    assert clone.begin() == []


def test_an_edit_under_a_study_is_said_whether_it_is_committed_or_not(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    clone.begin()
    clone.edit(TEXT + "WIDTH = 8\n")
    assert clone.begin() == [EDITED.format("commit it and ")]
    clone.commit()
    assert clone.begin() == [EDITED.format("")]
    shown = git(tmp_path, "diff", "nightlab/night", "--", "trainer/train.py")
    assert "+WIDTH = 8" in shown, "the command that is named does what is said of it"
    clone.edit(TEXT)
    assert clone.begin() == []


def test_what_the_study_has_kept_may_be_adopted(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    clone.begin()
    session = clone.session
    finish_trial(session, Proposal(title="baseline", proposer="baseline"), Verdict.KEEP)
    for number, (old, new) in enumerate((("4", "5"), ("5", "6")), start=1):
        edit = Edit(search=f"DEPTH = {old}", replace=f"DEPTH = {new}")
        keep_edit(session, number, Proposal(title="Deeper", proposer="llm", edits=(edit,)))
    for depth in ("4", "5", "6"):
        own = TEXT.replace('"probe"', '"float32"').replace("4", depth)
        clone.edit(own)
        assert clone.begin() == [], depth
    clone.edit(own.replace("6", "7"))
    assert len(clone.begin()) == 1


def test_a_new_study_begins_from_what_is_committed_and_says_so(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    clone.edit(TEXT.replace("4", "9"))
    assert clone.begin() == [
        "trainer/train.py has changes that are not committed: the study begins from the committed "
        "file."
    ]
    ledger = clone.session.ledger
    assert "DEPTH = 4" in ledger.source(ledger.incumbent())

"""A kept model continues a text in a real sandbox."""

from pathlib import Path

import pytest

from nightlab.errors import EvaluationError
from nightlab.evaluation.sampling import Draw, sample
from nightlab.sandbox import Sandbox, choose_sandbox
from nightlab.sandbox.probe import CPU
from nightlab.study.model_folder import WEIGHTS
from tests.kept_samples import SOURCE, fill_folder, kept_model

pytest.importorskip("torch")

BOS = 299


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    return choose_sandbox()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_folder(tmp_path_factory.mktemp("kept"), kept_model()) / WEIGHTS


def write_on(
    weights: Path, sandbox: Sandbox, tokens: list[int], *, source: str = SOURCE, length: int = 12
) -> list[int]:
    draw = Draw(length=length, temperature=0)
    return sample(source, weights, kept_model(), tokens, draw, sandbox, CPU)


def test_it_writes_on_past_the_longest_input_until_its_text_ends(
    weights: Path, sandbox: Sandbox
) -> None:
    # Eight tokens are all that the model takes at once.
    assert write_on(weights, sandbox, [BOS, 3]) == list(range(4, 16))
    assert write_on(weights, sandbox, list(range(100, 130)), length=3) == [130, 131, 132]
    assert write_on(weights, sandbox, [BOS, 295]) == [296, 297, 298]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (SOURCE.replace("self.table[tokens]", "None"), "TypeError"),
        (f"{SOURCE}\nimport os\nos.write(int(os.environ['NIGHTLAB_SOCKET']), b'x' * 99)", "frame"),
    ],
)
def test_a_model_that_does_not_answer_is_said(
    weights: Path, sandbox: Sandbox, source: str, why: str
) -> None:
    with pytest.raises(EvaluationError, match=f"trial 0 does not continue a text: .*{why}"):
        write_on(weights, sandbox, [BOS], source=source)


SENT = """
import json, os, socket, struct
def send(tokens):
    text = json.dumps({"type": "sampled", "tokens": tokens}).encode()
    with socket.socket(fileno=os.dup(int(os.environ["NIGHTLAB_SOCKET"]))) as host:
        host.sendall(struct.pack(">I", len(text)) + text)
"""


@pytest.mark.parametrize("tokens", [[BOS], [1] * 13])
def test_an_answer_that_is_no_text_is_refused(
    weights: Path, sandbox: Sandbox, tokens: list[int]
) -> None:
    with pytest.raises(EvaluationError, match="are no tokens"):
        write_on(weights, sandbox, [BOS], source=f"{SOURCE}{SENT}send({tokens})")

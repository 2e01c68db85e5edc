"""A real model on loopback: real tokens, real nonsense, real latency. Needs `make local-model`."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.errors import UsageError
from nightlab.ledger import Ledger
from nightlab.models.endpoint import Endpoint
from nightlab.models.endpoint_errors import PromptTooLong
from nightlab.models.local_model import MODEL_NAME, extra_folder, model_file
from nightlab.records import Reason, Verdict
from tests.conftest import (
    ROOT,
    SHORT_BUDGET,
    expect_success,
    git,
    nightlab_command,
    nightlab_environment,
    run_nightlab,
)

pytestmark = pytest.mark.xdist_group("local model")
needs_the_model = pytest.mark.skipif(
    not (extra_folder() / "xllamacpp").is_dir(), reason="needs the packages of `make local-model`"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The model's address, served by the command that people use."""
    server = subprocess.Popen(
        nightlab_command("local-model", "--port", "0", "--answer-tokens", "60"),
        cwd=ROOT,
        env=nightlab_environment(tmp_path_factory.mktemp("cache")),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/v1", said)
        assert found is not None, said
        yield found[0]
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=30) == 0


def test_without_the_extra_one_sentence_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(UsageError, match="make local-model"):
        model_file()


@needs_the_model
def test_it_answers_with_real_tokens(address: str) -> None:
    endpoint = Endpoint(model=f"openai/{MODEL_NAME}", api_base=address, timeout_seconds=300)
    reply = endpoint.ask([{"role": "user", "content": "Say hello."}])
    assert reply.text.strip()
    assert reply.prompt_tokens is not None
    assert reply.prompt_tokens > 5
    assert reply.completion_tokens is not None
    assert 0 < reply.completion_tokens <= 60


@needs_the_model
def test_a_prompt_that_it_cannot_hold_is_known_as_such(address: str) -> None:
    endpoint = Endpoint(model=f"openai/{MODEL_NAME}", api_base=address, timeout_seconds=300)
    with pytest.raises(PromptTooLong):
        endpoint.ask([{"role": "user", "content": "word " * 40_000}])


@needs_the_model
def test_a_port_that_is_taken_is_told_in_one_sentence(address: str, tmp_path: Path) -> None:
    port = address.removesuffix("/v1").rpartition(":")[2]
    done = run_nightlab(ROOT, tmp_path, "local-model", "--port", port)
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


@needs_the_model
@pytest.mark.slow
def test_it_drives_a_session_to_its_end(
    address: str, clone: Path, shared_cache: Path, prefect_api: dict[str, str]
) -> None:
    done = run_nightlab(
        clone,
        shared_cache,
        *("research", "--study", "small", "--trials", "1", *SHORT_BUDGET),
        *("--confirm-replicates", "0", "--no-prefetch", "--model-timeout-seconds", "600"),
        *("--model", f"openai/{MODEL_NAME}", "--api-base", address),
        extra=prefect_api,
        timeout_seconds=1_800,
    )
    said = expect_success(done)
    assert "1 trial was asked for and is done" in said
    record = Ledger(clone, "small").records()[1]
    assert record.verdict is not Verdict.FAILED, record.decision.sentence
    assert record.reason is not Reason.MACHINERY
    assert record.cost.calls >= 1
    assert record.cost.prompt_tokens is not None
    assert record.cost.prompt_tokens > 5_000
    assert git(clone, "status", "--porcelain") == ""

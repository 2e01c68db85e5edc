"""A night whose endpoints repeat their keys in every form: afterwards they are found nowhere."""

import json
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.local_server import server_command
from nightlab.ledger import Ledger
from nightlab.records import Reason, Verdict
from tests.conftest import (
    expect_success,
    find_free_port,
    make_clone,
    nightlab_environment,
    prefect_server,
    run_nightlab,
)
from tests.echoing_endpoint import all_forms, echoing_endpoint, needles
from tests.scripted_endpoint import Raw, ScriptedEndpoint, Text, answer_with_edit, chat_completion

MAIN = "def main() -> None:"
KEYS = {name: f"sk-{name}?/+{uuid.uuid4().hex}{uuid.uuid4()}" for name in ("one", "two", "three")}
SAVE_BLOCKS = """
import json, sys
from prefect.blocks.system import Secret
for name, key in json.load(sys.stdin).items():
    Secret(value=f" {key}\\r\\n").save(name)
"""
MOST_BYTES = 64 * 2**20


@pytest.mark.slow
def test_a_canary_key_in_all_forms_is_found_nowhere(tmp_path: Path, shared_cache: Path) -> None:
    clone, home = make_clone(tmp_path / "clone"), tmp_path / "prefect"
    port = find_free_port()
    address = f"http://127.0.0.1:{port}/api"
    extra = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": address,
        "THIRD_API_KEY": f"{KEYS['three']}\r",
    }
    environment = nightlab_environment(shared_cache, extra)
    # Two keys are in Prefect's database, which keeps them encrypted, and one is in a variable.
    blocks = {name: KEYS[name] for name in ("one", "two")}
    with (
        prefect_server(server_command(port), environment, address),
        ScriptedEndpoint(_script(KEYS["one"], KEYS["three"])) as endpoint,
        echoing_endpoint([401, 400, 500, 429]) as (echo, came),
        echoing_endpoint([404, 529]) as (other, came_there),
    ):
        subprocess.run(
            [sys.executable, "-c", SAVE_BLOCKS],
            input=json.dumps(blocks),
            env=environment,
            text=True,
            check=True,
        )
        models = f"openai/a@{endpoint.api_base},openai/b@{echo},openai/c@{other}"
        keys = f"one={endpoint.api_base},two={echo},env:THIRD_API_KEY={other}"
        night = run_nightlab(
            clone,
            shared_cache,
            *("research", "--study", "night", "--trials", "4", "--proposer", "llm"),
            *("--budget-tokens", "8192", "--preflight-seconds", "0", "--confirm-replicates", "0"),
            *("--model", models, "--api-key-secret", keys, "--model-timeout-seconds", "10"),
            extra=extra,
        )
        assert came
        assert set(came) <= {KEYS["two"]}
        assert set(came_there) <= {KEYS["three"]}
        sent = {each.headers["authorization"] for each in endpoint.requests}
        assert sent == {f"Bearer {KEYS['one']}"}
        prompts = "".join(each.text for each in endpoint.requests)
    told = expect_success(night) + night.stderr + prompts
    records = Ledger(clone, "night").records()[1:]
    reasons = {record.reason for record in records}
    assert {Reason.EXCEPTION, Reason.INVALID_EDIT} <= reasons, told
    assert any(record.verdict is Verdict.CRASH for record in records)
    assert "[redacted]" in told
    for command in (["show", "night"], *(["show", "night", str(n)] for n in range(1, 5))):
        told += expect_success(run_nightlab(clone, shared_cache, *command, extra=extra))
    for command in (["show", "night", "--json"], ["report", "night"], ["export", "night"]):
        told += expect_success(run_nightlab(clone, shared_cache, *command, extra=extra))

    stored = {"what was printed": told.encode(), **dict(_written(clone, home, shared_cache))}
    assert len(stored["the objects of git"]) > 10_000
    assert any(name.endswith("mlflow.db") for name in stored)
    assert any(name.endswith("prefect.db") for name in stored)
    assert any(name.endswith("night.html") for name in stored)
    sought = set().union(*map(needles, KEYS.values()))
    found = {name for name, content in stored.items() if any(each in content for each in sought)}
    assert found == set()
    assert b"[redacted]" in stored["the objects of git"]


def _script(key: str, other: str) -> list[str | Raw]:
    """Answers that hold the key where answers hold text, for as many trials as are asked for."""
    echo = " ".join(all_forms(key).split()) + " " + " ".join(all_forms(other).split())
    fault = f"{MAIN}\n    raise RuntimeError('planted {key}')"
    idea = answer_with_edit(MAIN, fault, title=f"Plant {key}", hypothesis=echo)
    unusable = answer_with_edit(f"nothing like {key}", "x", title=key, hypothesis=echo)
    reasoned = json.loads(chat_completion(Text(content=idea)))
    reasoned["choices"][0]["message"]["reasoning_content"] = echo
    reasoned["id"] = reasoned["model"] = reasoned["system_fingerprint"] = key
    failed = {"error": {"message": all_forms(key), "code": key}}
    return [
        idea,
        *[unusable] * 3,
        Raw(json.dumps(failed).encode()),
        Raw(json.dumps(reasoned).encode()),
        *[unusable] * 12,
    ]


def _written(clone: Path, home: Path, cache: Path) -> Iterator[tuple[str, bytes]]:
    """All that a night leaves: git's objects, unpacked, and files; databases as text too."""
    git = ["git", "-C", str(clone)]
    for what in (["cat-file", "--batch-all-objects", "--batch"], ["log", "--all", "-p"]):
        done = subprocess.run([*git, *what], capture_output=True, check=True)
        yield "the objects of git" if "cat-file" in what else "git's log", done.stdout
    for folder in (clone, home, cache):
        for file in sorted(folder.rglob("*")):
            if not file.is_file() or file.is_symlink() or file.stat().st_size > MOST_BYTES:
                continue
            yield str(file), file.read_bytes()
            if file.suffix == ".db":
                with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
                    yield f"{file} as text", "\n".join(database.iterdump()).encode()

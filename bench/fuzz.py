"""Mutated texts of candidates and models, put to all that reads them.

    .venv/bin/python bench/fuzz.py --minutes 20
    .venv/bin/python bench/fuzz.py --minutes 1 --only source --seed 7

A reader may raise what it declares and nothing else, and may take 0.1 s of the processor. What
breaks this is printed with the text, shortened, and the seed that makes it again.
"""

import argparse
import importlib
import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nightlab.errors import NightlabError
from nightlab.ledger.documents import from_json, to_json
from nightlab.models.chat_stream import BrokenOffError, ChatStream, Lines
from nightlab.models.meanings import meaning_of
from nightlab.models.resets import seconds_until_reset
from nightlab.models.said import said_in
from nightlab.proposers.edits import apply_edits, edit_between
from nightlab.proposers.llm.answer import read_answer
from nightlab.records import InFlight, TrialRecord
from nightlab.redaction import redact
from nightlab.sandbox.failure import classify_crash, failed_import
from nightlab.sandbox.log import CappedLog
from nightlab.sandbox.protocol import Channel, Deadline, PeerError
from nightlab.source.code_size import is_clearly_less
from nightlab.source.contract import check_source
from nightlab.source.knobs import knob_values, read_knobs, set_knobs
from nightlab.source.schedule import touched_schedule
from nightlab.source.source_tree import is_same_program
from nightlab.source.three_way import without_change

ROOT = Path(__file__).parents[1]
LONGEST_SECONDS = 0.1
LONGEST_TEXT = 2**16
"""Characters of a mutated text: twice the engine's own trainer."""
TRAINER = (ROOT / "trainer" / "train.py").read_text(encoding="utf-8")
NOW = datetime(2026, 1, 1, tzinfo=UTC)

ANSWER = """TITLE: Train the matrices faster
HYPOTHESIS: Muon's steps are small beside the weights.
EXPECTED: -0.01

<<<<<<< SEARCH
        return self.norm(x)
=======
        return x
>>>>>>> REPLACE
"""
EVENTS = """event: message
data: {"id": "1", "choices": [{"delta": {"content": "TITLE: x", "reasoning": "why"}}]}

data: {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3}}

data: [DONE]

"""
ERRORS = (
    '{"error": {"message": "Rate limit reached. Try again in 7m12.5s", "code": "rate_limit"}}',
    '{"detail": [{"loc": ["body", "stream"], "msg": "extra fields", "type": "value_error"}]}',
    "retry at Dec 31, 2026 11:59 PM (America/Argentina), resets 0001-01-01 00:00:00+14:00",
    "context length exceeded: max_tokens 4096, at 2026-01-01 10:00:00 UTC, reset after 3 hours",
)
LOG = """Traceback (most recent call last):
  File "/x/site-packages/torch/nn.py", line 3, in <module>
    import nothing
\x1b[31mtorch.OutOfMemoryError: CUDA out of memory\x1b[0m https://user:word@host/x?api_key=abc
"""
FRAMES = (
    '{"type": "step", "step": 1, "tokens": 10, "loss": 2.5, "learning_rate": 0.1}',
    '{"type": "saved", "final": true}',
    '{"type": "sampled", "tokens": [1, 2, 3]}',
)
HOSTILE = (
    *("\0", "\r", "\x0c", "\x1b[", "\ud800", "\u2028", "é", "思", "\ufeff", "\\", '"', "'", "#"),
    *("```", "<think>", "</think>", "[THINK]", "<|channel|>final", "<<<<<<< SEARCH\n", "=======\n"),
    *(">>>>>>> REPLACE\n", "TITLE:", "TITLE ", "# 0..9", "# one of ", "0x" + "f" * 3_700, "1e999"),
    *("9" * 4_400, "(" * 120, "[" * 1_200, "f'{x}'", "# ... existing code ...", "://a:b@", "\n\n"),
    *(
        "data: ",
        "NaN",
        "Infinity",
        '{"a":',
        "retry after ",
        "    ",
        "\t",
        "1.",
        "usage: ",
        ";",
        "\\N{",
    ),
)


@dataclass(frozen=True, slots=True)
class Reader:
    """Something that reads texts of others."""

    name: str
    seeds: tuple[str, ...]
    read: Callable[[str], object]
    raises: tuple[type[Exception], ...] = ()
    """What it declares."""


def use_source(source: str) -> Iterator[Callable[[], object]]:
    """All that is done with a source: the gate, and what follows where it lets the source pass."""
    problem: list[str | None] = []
    yield lambda: problem.append(check_source(source))
    yield lambda: read_knobs(source)
    yield lambda: is_clearly_less(source, TRAINER)
    yield lambda: touched_schedule(TRAINER, source)
    yield lambda: without_change(source, TRAINER, source)
    if problem[0] is None:
        yield lambda: apply_edits(TRAINER, edit_between(TRAINER, source))
        yield lambda: is_same_program(source, TRAINER)
        yield lambda: set_knobs(source, knob_values(source))


def read_stream(text: str) -> object:
    """An answer that comes in events."""
    lines, stream = Lines(), ChatStream(headers={})
    data = text.encode("utf-8", "surrogatepass")
    for start in range(0, len(data), 1_000):
        for event in lines.feed(data[start : start + 1_000]):
            stream.take(*event)
    for event in lines.end():
        stream.take(*event)
    return stream.completion()


def read_error(text: str) -> object:
    """An answer that is an error."""
    headers = {"retry-after": text[:200], "x-ratelimit-reset-tokens": text[-200:]}
    said = said_in(429, headers, text.encode("utf-8", "surrogatepass"))
    return meaning_of(said, resets=seconds_until_reset(said, NOW) is not None)


def read_log(text: str) -> object:
    """What a job printed."""
    log = CappedLog()
    log.add(text.encode("utf-8", "surrogatepass"))
    return classify_crash(1, log.text()), failed_import(log.text()), redact(log.text())


def read_frames(text: str) -> None:
    """What comes over a job's socket, framed and unframed."""
    host, candidate = socket.socketpair()
    data = text.encode("utf-8", "surrogatepass")[:50_000]
    with candidate, Channel(host) as channel:
        candidate.sendall(struct.pack(">I", len(data)) + data + data)
        candidate.shutdown(socket.SHUT_WR)
        while True:
            channel.receive(Deadline.after(1))


def read_record(text: str) -> object:
    """A record or a mark that another machine wrote."""
    content = text.encode("utf-8", "surrogatepass")
    kind = InFlight if "attempts" in text else TrialRecord
    return to_json(from_json(kind, content, "refs/nightlab/x/trials/0001"))


def readers(records: tuple[str, ...]) -> tuple[Reader, ...]:
    """All of them; a source's steps are each a call of its own."""
    return (
        Reader("source", (TRAINER, TRAINER[:9_000]), use_source),
        Reader("answer", (ANSWER, ANSWER * 3), lambda text: read_answer(text, "stop", TRAINER)),
        Reader("edits", (ANSWER,), lambda text: read_answer(_with_lines(text), "stop", TRAINER)),
        Reader("stream", (EVENTS,), read_stream, (BrokenOffError, UnicodeDecodeError)),
        Reader("error", ERRORS, read_error),
        Reader("log", (LOG,), read_log),
        Reader("frames", FRAMES, read_frames, (PeerError,)),
        Reader("record", records, read_record, (NightlabError,)),
    )


def _with_lines(text: str) -> str:
    """An answer that quotes the trainer."""
    quoted = text.replace("        return self.norm(x)\n", TRAINER[: 400 + len(text) % 4_000])
    return quoted[:LONGEST_TEXT]


def mutated(seed: str, draw: random.Random) -> str:
    """A text with a few pieces cut, moved, doubled, repeated at length, or replaced."""
    text = seed
    for _ in range(draw.choice((1, 1, 2, 3, 6))):
        at = draw.randrange(len(text) + 1)
        to = min(len(text), at + draw.choice((0, 1, 1, 2, 8, 80, 800)))
        piece = text[at:to] or draw.choice(HOSTILE)
        match draw.randrange(6):
            case 0:
                piece = ""
            case 1:
                piece += draw.choice(HOSTILE)
            case 2:
                piece *= draw.choice((2, 3, 50, 500, 5_000))
            case 3:
                piece = draw.choice(HOSTILE) * draw.choice((1, 1, 2, 20, 500, 5_000))
            case 4:
                begin = draw.randrange(len(text) + 1)
                piece = text[begin : begin + draw.choice((1, 10, 100, 1_000))]
            case _:
                piece = "".join(
                    chr(draw.choice((0, 10, 13, 32, 34, 39, 92, 127, 160, 8232))) for _ in range(8)
                )
        text = (text[:at] + piece + text[to:])[:LONGEST_TEXT]
    return text


def trouble(reader: Reader, text: str) -> str | None:
    """What one reader makes of one text, where that is not as it should be."""
    steps = use_source(text) if reader.read is use_source else iter([lambda: reader.read(text)])
    for number, step in enumerate(steps):
        problem = _step(step, reader.raises)
        if problem is not None:
            return f"{reader.name} ({number}) {problem}: {text[:60]!r} … {text[-60:]!r}"
    return None


def _step(step: Callable[[], object], raises: tuple[type[Exception], ...]) -> str | None:
    least = float("inf")
    for _ in range(4):  # What takes long by chance is quicker another time.
        began = time.thread_time()
        try:
            step()
        except raises:
            pass
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            return f"raised {type(error).__name__}: {str(error)[:100]}"
        least = min(least, time.thread_time() - began)
        if least <= LONGEST_SECONDS:
            return None
    return f"took {least:.2f} s"


def fuzz(reader: Reader, seed: int) -> str | None:
    """One mutated text, by its seed; what is wrong with how it is read."""
    draw = random.Random(f"{reader.name} {seed}")
    return trouble(reader, mutated(draw.choice(reader.seeds), draw))


def main() -> None:
    """Fuzz for a while and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--only", help="one reader, by its name")
    parser.add_argument("--seed", type=int, default=0, help="of the first text")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    samples = importlib.import_module("tests.samples")
    record = samples.sample_record(1).model_dump(mode="json")
    chosen = [
        reader
        for reader in readers((json.dumps(record), json.dumps(record, indent=2)))
        if arguments.only in (None, reader.name)
    ]
    end, seed, found = time.monotonic() + 60 * arguments.minutes, arguments.seed, 0
    while time.monotonic() < end:
        for reader in chosen:
            problem = fuzz(reader, seed)
            if problem is not None:
                found += 1
                print(f"seed {seed}: {problem}", flush=True)
        seed += 1
    texts = (seed - arguments.seed) * len(chosen)
    print(f"{texts} texts in {time.process_time():.0f} s of the processor; {found} read badly")


if __name__ == "__main__":
    main()

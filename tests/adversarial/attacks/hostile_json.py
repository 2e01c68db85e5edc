"""Sends frames that parsers trip over: depth, huge numbers, NaN, bad text, wrong types.

Success: the engine fails by itself, or a number that is none is recorded.
"""

import time

from bare import gate, host, scene, start, train_honestly

KIND = "protocol"
LAYER = "strict messages, parsed under a size limit"
CONTROL = "json.loads takes NaN, and raises RecursionError at depth: by construction"
EXPECTED = "contract"

FRAMES = {
    "deep": b"[" * 60_000,
    "deep object": b'{"a":' * 12_000,
    "NaN": b'{"type": "step", "step": 1, "tokens": 1, "loss": NaN}',
    "infinity": b'{"type": "step", "step": 1, "tokens": 1, "loss": 1e999}',
    "huge integer": b'{"type": "step", "step": ' + b"9" * 5000 + b', "tokens": 1, "loss": 1}',
    "negative": b'{"type": "step", "step": -1, "tokens": 1, "loss": 1.0}',
    "surrogate": b'{"type": "\\ud800"}',
    "bad text": b'{"type": "\xff\xfe"}',
    "no object": b"null",
    "empty": b"",
    "other type": b'{"type": ["step"]}',
    "escape": b'{"type": "\\u001b[31m"}',
}
VARIANTS = (
    "deep",
    "deep object",
    "NaN",
    "infinity",
    "huge integer",
    "negative",
    "surrogate",
    "bad text",
    "no object",
    "empty",
    "other type",
    "escape",
)


def attack() -> None:
    start()
    gate()
    host.send_raw(FRAMES[scene["variant"]])
    time.sleep(60)


def honest() -> None:
    train_honestly()

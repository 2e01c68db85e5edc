"""Sends a record, and an endpoint's error, nested thousands of levels deep.

Success: the engine fails by itself, on a record at every start of the study.
"""

import contextlib

from nightlab.errors import LedgerError
from nightlab.ledger.documents import from_json
from nightlab.models.said import said_in
from nightlab.records import TrialRecord
from tests.samples import sample_record

KIND = "text"
LAYER = "one error for what cannot be read; JSON of a hundred levels"
CONTROL = "json.loads raises RecursionError at depth: by construction"


def attack() -> str:
    return '{"error": ' * 5_000 + "1" + "}" * 5_000


def honest() -> str:
    return sample_record(1).model_dump_json()


def reached(text: str) -> bool:
    said_in(500, {}, text.encode())
    said_in(500, {}, text[: 10 * 400].encode() + b"1" + b"}" * 400)
    with contextlib.suppress(LedgerError):
        from_json(TrialRecord, text.encode(), "refs/nightlab/x/trials/0001")
        return True
    return False


def passes(text: str) -> bool:
    return from_json(TrialRecord, text.encode(), "refs/nightlab/x/trials/0001").number == 1

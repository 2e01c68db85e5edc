import os
from pathlib import Path

import pytest

from nightlab.errors import NightlabError, UsageError
from nightlab.machine.encoding import require_utf8

LATIN = os.fsdecode("café".encode("latin-1"))


@pytest.mark.parametrize(
    ("arguments", "environment", "folder"),
    [
        (["research", "--command", f"./{LATIN}.sh"], {}, "/lab"),
        (["research", f"--corpus=path:/data/{LATIN}"], {}, "/lab"),
        ([], {"NIGHTLAB_CACHE": f"/cache/{LATIN}"}, "/lab"),
        ([], {"HOME": f"/home/{LATIN}"}, "/lab"),
        ([], {}, f"/home/{LATIN}/lab"),
    ],
)
def test_other_bytes_are_refused_and_shown(
    arguments: list[str], environment: dict[str, str], folder: str
) -> None:
    with pytest.raises(UsageError, match=r"caf\\udce9") as refusal:
        require_utf8(arguments, environment, Path(folder))
    assert str(refusal.value).encode()


def test_any_language_and_what_is_not_ours_pass() -> None:
    environment = {"NIGHTLAB_CACHE": "/家/кэш", "SOMEBODY_ELSES": LATIN}
    require_utf8(["--command", "écris-le 🌙"], environment, Path("/домой"))


def test_every_error_can_be_printed_and_stored() -> None:
    assert str(NightlabError(f"/data/{LATIN}.txt is cut")) == "/data/caf\\udce9.txt is cut"
    assert str(NightlabError("ночь")) == "ночь"

import importlib.metadata
import re

import pytest

from nightlab.corpus.documents import stay_silent
from nightlab.corpus.embedded import DISTRIBUTIONS, EmbeddedSource
from nightlab.errors import CorpusError


def requirements_closure(name: str) -> set[str]:
    """Return what a distribution needs, directly and indirectly, by normalised names."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        current = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if current in found:
            continue
        found.add(current)
        try:
            needed = importlib.metadata.requires(current) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [
            re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0]
            for requirement in needed
            if "extra ==" not in requirement
        ]
    return found


def test_nothing_that_the_sandbox_mounts_is_in_the_corpus() -> None:
    mounted = requirements_closure("torch") | {"numpy", "setuptools"}
    assert {"torch", "sympy", "mpmath", "numpy"} <= mounted
    assert not mounted & set(DISTRIBUTIONS)


def test_nothing_that_the_bundled_pip_carries_is_in_the_corpus() -> None:
    carried = {"rich", "pygments", "requests", "urllib3", "packaging", "platformdirs", "idna"}
    assert not carried & set(DISTRIBUTIONS)


def test_texts_come_in_the_same_order_and_mix_the_distributions() -> None:
    source = EmbeddedSource(("redis", "docker"))
    texts = list(source.texts(stay_silent))
    assert texts == list(source.texts(stay_silent))
    first = "".join(texts[: len(texts) // 4])
    assert "import redis" in first or "from redis" in first
    assert "docker" in first


def test_identity_names_versions_and_files() -> None:
    version = importlib.metadata.version("redis")
    source = EmbeddedSource(("redis",))
    assert re.fullmatch(rf"redis=={re.escape(version)} files [0-9a-f]{{16}}", source.identity())


def test_a_missing_distribution_names_the_command() -> None:
    with pytest.raises(CorpusError, match=r"'no-such-package', found none: run `make setup`"):
        EmbeddedSource(("redis", "no-such-package")).identity()

"""The embedded corpus: Python source code that every installation already has.

It fetches nothing. The distributions below are locked dependencies of Nightlab that the
sandbox does *not* mount, so that a candidate cannot read any split in there. Deliberately
left out are torch's own requirements and the standard library, which the sandbox
mounts, and whatever those carry copies of: ``ensurepip`` holds a wheel of pip with rich,
Pygments, requests, urllib3 and more inside; setuptools carries packaging and others.
"""

import hashlib
import importlib.metadata
import tokenize
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from nightlab.corpus.documents import Progress
from nightlab.errors import CorpusError

DISTRIBUTIONS = (
    "aiohttp",
    "alembic",
    "apprise",
    "beartype",
    "botocore",
    "databricks-sdk",
    "docker",
    "fastapi",
    "fonttools",
    "gitpython",
    "google-auth",
    "graphql-core",
    "huggingface-hub",
    "joblib",
    "litellm",
    "matplotlib",
    "mlflow",
    "narwhals",
    "openai",
    "optuna",
    "pandas",
    "prefect",
    "pyarrow",
    "pydantic",
    "redis",
    "scikit-learn",
    "scipy",
    "sqlalchemy",
    "websockets",
    "werkzeug",
)
"""About 190 MB of source, 186 MB once repeats are taken out."""


@dataclass(frozen=True, slots=True)
class EmbeddedSource:
    """The source files of ``distributions``, as installed beside Nightlab."""

    distributions: tuple[str, ...] = DISTRIBUTIONS

    def identity(self) -> str:
        """Return the distributions' names and versions, and a hash of their file lists.

        The lists (RECORD) carry every file's own hash, so nothing needs to be read.
        """
        return "\n".join(self.origins())

    def origins(self) -> tuple[str, ...]:
        """Return one line for each distribution: name, version, hash of its file list."""
        lines = []
        for distribution in map(_installed, self.distributions):
            sources = sorted(
                f"{file} {file.hash.value if file.hash else ''}"
                for file in _source_files(distribution)
            )
            digest = hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]
            lines.append(f"{distribution.name}=={distribution.version} files {digest}")
        return tuple(lines)

    def sizes(self) -> Generator[int, None, None]:
        """Give the size of every source file, as its distribution lists it."""
        for distribution in map(_installed, self.distributions):
            yield from (file.size or 0 for file in _source_files(distribution))

    def texts(self, progress: Progress) -> Generator[str, None, None]:
        """Yield the text of every source file, in an order that mixes the distributions.

        The order is that of a hash of each file's name, so that a cap takes a sample of
        all and not the first ones whole.
        """
        files = [
            (hashlib.blake2b(f"{name}/{file}".encode(), digest_size=16).digest(), file.locate())
            for name in self.distributions
            for file in _source_files(_installed(name))
        ]
        for _, path in sorted(files):
            yield _source_text(Path(path))


def _installed(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise CorpusError(
            f"the embedded corpus needs the installed package {name!r}, found none: "
            "run `make setup`, which installs the locked packages, or choose another --corpus."
        ) from error


def _source_files(
    distribution: importlib.metadata.Distribution,
) -> list[importlib.metadata.PackagePath]:
    """List the distribution's modules; scripts beside them name this machine's interpreter."""
    return [
        file for file in distribution.files or () if file.suffix == ".py" and ".." not in file.parts
    ]


def _source_text(path: Path) -> str:
    """Read Python source in the encoding that it declares (PEP 263)."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as error:
        raise CorpusError(
            f"the embedded corpus needs {path}, and it cannot be read ({error}): "
            "run `rm -rf .venv && make setup`, which installs the locked packages again."
        ) from error

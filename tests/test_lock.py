"""The locked set holds what people's own servers need besides."""

import re

from sqlalchemy import make_url

from tests.conftest import ROOT


def locked() -> set[str]:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


def test_the_drivers_of_postgresql_are_locked() -> None:
    """MLflow's and Prefect's, at the addresses that their own pages write."""
    drivers = {"psycopg2": "psycopg2-binary", "asyncpg": "asyncpg"}
    for address in ("postgresql://host/mlflow", "postgresql+asyncpg://host/prefect"):
        assert drivers[make_url(address).get_dialect().driver] in locked()

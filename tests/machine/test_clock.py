import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from nightlab.errors import UsageError
from nightlab.machine.clock import zone_name
try:
    print(zone_name())
except UsageError as error:
    sys.exit(str(error))
"""


def ask(zone: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: the C library and tzlocal both keep what they read first."""
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":Asia/Kolkata", "Asia/Kolkata"),
        ("EST5EDT", "EST5EDT"),
        ("UTC", "UTC"),
        ("Etc/GMT-3", "Etc/GMT-3"),
    ],
)
def test_a_name_is_taken_as_it_is(zone: str, name: str) -> None:
    assert ask(zone).stdout.strip() == name


@pytest.mark.parametrize(
    "zone",
    [
        "UTC-3",
        "EST5",
        "<+0330>-3:30",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "Europe/berlin",
        "Mars/Olympus",
        ":",
        "../../etc/passwd",
        "/no/such/file",
        "\x01",
    ],
)
def test_a_rule_or_nonsense_is_not_taken_for_utc(zone: str) -> None:
    done = ask(zone)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"TZ={zone!r}" in line
    assert "TZ=Europe/Berlin" in line


@pytest.mark.parametrize("zone", ["/usr/share/zoneinfo/Europe/Berlin", ":/etc/localtime", ""])
def test_a_file_of_the_system_has_a_name(zone: str) -> None:
    if zone.startswith("/usr") and not os.path.exists(zone):
        pytest.skip("no time zones in the system's files")
    expected = "Europe/Berlin" if zone.startswith("/usr") else ask(":/etc/localtime").stdout.strip()
    if expected:
        assert ask(zone).stdout.strip() == expected

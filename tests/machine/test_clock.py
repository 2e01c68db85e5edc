import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from nightlab.errors import UsageError
from nightlab.machine.clock import _agrees, zone_name

Set = Callable[[str | None], None]


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Set]:
    """Set TZ, or take it away, for Python and the C library."""

    def set_it(zone: str | None) -> None:
        if zone is None:
            monkeypatch.delenv("TZ", raising=False)
        else:
            monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_it
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        (":Asia/Kolkata", "Asia/Kolkata"),
        ("EST5EDT", "EST5EDT"),
        ("UTC", "UTC"),
        ("Etc/GMT-3", "Etc/GMT-3"),
        ("/usr/share/zoneinfo/Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_a_name_is_taken_as_it_is(set_zone: Set, zone: str, name: str) -> None:
    set_zone(zone)
    assert zone_name() == name


@pytest.mark.parametrize(
    "zone",
    [
        "UTC-3",
        "EST5",
        "<+0330>-3:30",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "Europe/berlin",
        "Mars/Olympus",
        "localtime",
        "Factory",
        ":",
        "../../etc/passwd",
        "/no/such/file",
        "\x01",
    ],
)
def test_a_rule_or_nonsense_is_not_taken_for_utc(set_zone: Set, zone: str) -> None:
    set_zone(zone)
    with pytest.raises(UsageError) as refusal:
        zone_name()
    assert f"TZ={zone!r}" in str(refusal.value)
    assert "TZ=Europe/Berlin" in str(refusal.value)


@pytest.mark.parametrize("zone", [None, ""])
def test_without_a_setting_the_systems_zone_counts(set_zone: Set, zone: str | None) -> None:
    set_zone(None)
    if not Path("/etc/localtime").exists():
        pytest.skip("the system has no zone")
    here = zone_name()
    assert _agrees(ZoneInfo(here))
    set_zone(zone)  # an empty TZ is UTC for the C library, whatever the system has
    if _agrees(ZoneInfo(here)):
        assert zone_name() == here
    else:
        with pytest.raises(UsageError, match="TZ=''"):
            zone_name()


def test_a_zone_agrees_if_its_time_is_the_same_all_year(set_zone: Set) -> None:
    set_zone("IST-5:30")
    assert _agrees(ZoneInfo("Asia/Kolkata"))
    assert not _agrees(ZoneInfo("Etc/UTC"))
    set_zone("CET-1")
    assert not _agrees(ZoneInfo("Europe/Berlin")), "which is the same in winter alone"

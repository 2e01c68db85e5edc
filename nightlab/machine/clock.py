"""The time zone of this machine, by the name that schedules need."""

import os
import time
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from nightlab.errors import UsageError

DAYS_COMPARED = range(0, 366, 7)
DAY_SECONDS = 86_400
UTC_NAME = "Etc/UTC"
NO_PLACES = frozenset({"localtime", "Factory"})
"""Names that are another time on each machine, or on none."""
EXAMPLE = "TZ=Europe/Berlin"


def zone_name() -> str:
    """The zone's name in the IANA database, whose time is that of this machine all year.

    ``TZ`` may also hold a rule, such as ``EST5EDT,M3.2.0,M11.1.0``, which has no name: taken for
    UTC, a night's session would begin at noon.

    Raises:
        UsageError: there is no such name.
    """
    given = os.environ.get("TZ")
    name = _named(given.removeprefix(":")) if given else _system_zone()
    if name is None:
        source = f"TZ={given!r}" if given is not None else "/etc/localtime"
        raise UsageError(
            f"A schedule needs a time zone by its name, and {source} has none: set {EXAMPLE}, or "
            "whatever yours is (`timedatectl list-timezones`)."
        )
    return name


def _named(zone: str) -> str | None:
    """A name of the database, or the name of one of its files."""
    if os.path.isabs(zone):
        zone = os.path.realpath(zone).partition("/zoneinfo/")[2]
    return zone if zone in available_timezones() - NO_PLACES else None


def _system_zone() -> str | None:
    import tzlocal

    try:
        name = _named(tzlocal.get_localzone_name() or UTC_NAME)
    except ZoneInfoNotFoundError:  # two files of the system contradict each other
        return None
    return name if name and _agrees(ZoneInfo(name)) else None


def _agrees(zone: ZoneInfo) -> bool:
    """Whether a zone's time is what the C library makes of this machine's settings."""
    now = int(time.time())
    for day in DAYS_COMPARED:
        instant = now + day * DAY_SECONDS
        offset = datetime.fromtimestamp(instant, zone).utcoffset()
        if offset is None or offset.total_seconds() != time.localtime(instant).tm_gmtoff:
            return False
    return True

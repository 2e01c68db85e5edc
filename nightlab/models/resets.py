"""When a limit ends by itself, where a server says so: in a header, a field, or in words."""

import email.utils
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nightlab.models.said import Said

LONGEST_SECONDS = 366 * 86_400
"""Nothing that is waited for lies further ahead."""
JUST_PASSED = timedelta(minutes=10)
"""A moment no longer ago is now, by clocks that differ: not the same time of tomorrow."""
SOON_SECONDS = 1.0
_EPOCH = 1_000_000_000
"""A number above is a moment in seconds since 1970, and one a thousand times as large in
milliseconds."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_PART = (
    r"\d+(?:\.\d+)?\s*(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
)
_ONE_PART = re.compile(r"(?<!\d)(\d+(?:\.\d+)?)\s*(ms|milli|[smhd])", re.IGNORECASE)
_DURATION = re.compile(rf"(?<!\d){_PART}(?:(?:,|\s|and)*{_PART})*(?![a-z])", re.IGNORECASE)
_WORDS = re.compile(
    r"(?:tr(?:y|ying)(?: \w+)? again|retry(?:ing)?(?:[-_ ]?(?:after|delay|in))?"
    r"|resets?[-_]\w+|resets?|available|wait(?:ing)?|renew\w*|refresh\w*|restored|replenish\w*|lifted|unlocks?|expires?"
    r"|come back|limit reached)(?=(?P<rest>[^\n]{0,120}))",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ISO = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:\s*(?:Z|UTC|GMT)\b|[+-]\d\d:?\d\d)?"
)
_CLOCK = re.compile(
    r"(?:(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? (?P<day>\d{1,2})"
    r"(?:st|nd|rd|th)?,?(?: (?P<year>\d{4}),?)?(?: at)? )?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d)(?::\d\d)?)?\s*(?P<half>[ap]\.?m\b\.?)?"
    r"(?:\s*\(?(?P<zone>(?:UTC|GMT)?[+-]\d\d?(?::?\d\d)?|UTC\b|GMT\b"
    r"|(?-i:[A-Z][a-zA-Z]+/[A-Za-z_/]+|[A-Z]{1,5}\b))\)?)?",
    re.IGNORECASE,
)
_OFFSET = re.compile(r"(?:UTC|GMT)?(?P<sign>[+-])(?P<hours>\d\d?)(?::?(?P<minutes>\d\d))?")
_ZONES = {
    **dict.fromkeys(("UTC", "GMT", "Z"), "UTC"),
    **dict.fromkeys(("PT", "PST", "PDT"), "America/Los_Angeles"),
    **dict.fromkeys(("MT", "MST", "MDT"), "America/Denver"),
    **dict.fromkeys(("CT", "CDT"), "America/Chicago"),
    **dict.fromkeys(("ET", "EST", "EDT"), "America/New_York"),
    **dict.fromkeys(("CET", "CEST"), "Europe/Paris"),
    **{"BST": "Europe/London", "JST": "Asia/Tokyo"},
}
"""Zones by the letters that servers use; CST and IST are several, so they are none."""
_NUMBER = re.compile(r"\W{0,4}(?P<number>\d+(?:\.\d+)?)")


def seconds_until_reset(said: Said, now: datetime) -> float | None:
    """Seconds from now (aware) for which a server asks to be left alone; None where it asks not."""
    retry_after = (_retry_after(said.headers, now) or None,)
    for found in (retry_after, _in_words(said.body or said.text, now), _rate_limits(said, now)):
        known = [each for each in found if each is not None and each <= LONGEST_SECONDS]
        ahead = [each for each in known if each > -JUST_PASSED.total_seconds()]
        if ahead:
            # The first of several: who is asked too early says so again, at no cost.
            return min(ahead) if min(ahead) >= 0 else SOON_SECONDS
        if known:
            return 0.0
    return None


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from a Retry-After header, which holds a number or a date."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    return _from_value(headers.get("retry-after", ""), now)


def _rate_limits(said: Said, now: datetime) -> list[float]:
    """When the last of the limits ends that are used up, as headers say."""
    ends = []
    for name, value in said.headers.items() if said.status == 429 else ():
        if "reset" in name and "limit" in name:
            left = _number(said.headers.get(name.replace("reset", "remaining"), "0").split(",")[0])
            seconds = _from_value(value, now)
            if seconds is not None and not left:
                ends.append(seconds)
    return [max(ends)] if ends else []


def _from_value(value: str, now: datetime) -> float | None:
    """Seconds from a header's value: a number, a duration, an epoch or a date."""
    value = value.strip()
    number = _number(value)
    if number is not None:
        return _from_number(number, now)
    if _DURATION.fullmatch(value):
        return _seconds_of(value)
    moment = _moment(value)
    return None if moment is None else (moment - now).total_seconds()


def _from_number(number: float, now: datetime) -> float:
    if number > _EPOCH * 1_000:
        number /= 1_000
    return number - now.timestamp() if number > _EPOCH else number


def _in_words(text: str, now: datetime) -> Iterator[float]:
    """Seconds from what follows words such as "try again in" and "resets at"."""
    for match in _WORDS.finditer(text):
        rest = match["rest"]
        seconds = _seconds_after(rest, now)
        if seconds is not None:
            yield seconds
            continue
        field = _NUMBER.match(rest)
        # A field such as "resets_in_seconds": 7200 or "resets_at": 1764500000.
        name = match[0].lower()
        is_seconds = "second" in name or re.search(r"retry[-_ ]?after$", name) is not None
        if field and (is_seconds or float(field["number"]) > _EPOCH):
            yield _from_number(float(field["number"]), now)


def _seconds_after(rest: str, now: datetime) -> float | None:
    iso = _ISO.search(rest)
    if iso is not None and (moment := _moment(iso[0])) is not None:
        return (moment - now).total_seconds()
    duration = _DURATION.search(rest)
    clock = re.search(
        r"^\W*(?=\d+(?::\d\d|\s*[ap]\.?m))|\b(?:at|until|after|by|on)\b\W*", rest, re.I
    )
    if duration is not None and (clock is None or duration.start() <= clock.end()):
        return _seconds_of(duration[0])
    if clock is None:
        return None
    found = _CLOCK.match(rest, clock.end())
    if found is None or not (found["minute"] or found["half"]):
        return None
    moment = _clock_moment(found, now)
    return None if moment is None else (moment - now).total_seconds()


def _seconds_of(duration: str) -> float:
    total = 0.0
    for amount, unit in _ONE_PART.findall(duration):
        name = "ms" if unit.lower() in ("ms", "milli") else unit.lower()
        total += float(amount) * _UNITS[name]
    return total


def _clock_moment(found: re.Match[str], now: datetime) -> datetime | None:
    """The next moment at which a clock shows a time of day."""
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if found["half"]:
        hour = hour % 12 + (12 if found["half"].lower().startswith("p") else 0)
    try:
        there = now.astimezone(_zone(found["zone"]))
        moment = there.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if found["month"]:
            month = _MONTHS.index(found["month"].lower()) + 1
            year = int(found["year"] or there.year)
            return moment.replace(year=year, month=month, day=int(found["day"]))
    except (ValueError, OverflowError):
        return None
    return moment if moment > now - JUST_PASSED else moment + timedelta(days=1)


def _zone(name: str | None) -> tzinfo | None:
    """The zone that is named; None, for the machine's own, where none is.

    Raises:
        ValueError: it is not known, so that no moment is: a wrong one may be a day late.
    """
    if name is None:
        return None
    if offset := _OFFSET.fullmatch(name):
        ahead = timedelta(hours=int(offset["hours"]), minutes=int(offset["minutes"] or 0))
        return timezone(-ahead if offset["sign"] == "-" else ahead)
    try:
        return ZoneInfo(_ZONES.get(name.upper(), name))
    except (ZoneInfoNotFoundError, OSError) as error:  # "America/Argentina" is a folder
        raise ValueError(f"no zone {name}") from error


def _moment(text: str) -> datetime | None:
    plain = re.sub(r"(?<!\s)\s*(?:UTC|GMT)$", "+00:00", text)
    for read, form in (
        (datetime.fromisoformat, plain),
        (email.utils.parsedate_to_datetime, text),
    ):
        with suppress(ValueError, OverflowError):
            return read(form).astimezone()  # the machine's own where no zone is named
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

"""When limits end, as servers say it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from nightlab.models.resets import seconds_until_reset
from nightlab.models.said import Said

NOW = datetime(2026, 11, 30, 12, 30, tzinfo=UTC)


def until(text: str = "", status: int = 429, **headers: str) -> float | None:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return seconds_until_reset(Said(status=status, text=text, headers=named), NOW)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 20s.", 20),
        ("Please try again in 7.66s. Visit https://x/limits", 7.66),
        ("try again in 3h12m", 3 * 3600 + 12 * 60),
        ("Try again in 3 hours and 12 minutes.", 3 * 3600 + 12 * 60),
        ("Please try again in 1m26.5s", 86.5),
        ("retry in 250ms", 0.25),
        ('{"retry_after": 45}', 45),
        ("Please retry after 60 seconds.", 60),
        ("Rate limit is exceeded. Try again in 2 days", 2 * 86_400),
        ("You've hit your usage limit. Resets in 2 h", 7_200),
        ("Your limit will reset at 14:00 UTC", 5_400),
        ("Limit reached, resets at 2:45pm (UTC)", 8_100),
        ("5-hour limit reached - resets 3pm (UTC)", 9_000),
        ("usage limit reached; resets at 3am (America/Santiago)", 17.5 * 3_600),
        ("quota exhausted until 10:00 UTC tomorrow, please wait until 10:00 UTC", 21.5 * 3_600),
        ("try again at Dec 1st, 2026 3:00 PM UTC.", 26.5 * 3_600),
        ("available again at 2026-11-30T13:00:00Z", 1_800),
        ("The quota resets on 2026-12-01 00:00:00 UTC", 11.5 * 3_600),
        ('{"retryDelay": "32s"}', 32),
        ('{"resets_in_seconds": 7200}', 7_200),
        (f'{{"resets_at": {int((NOW + timedelta(hours=2)).timestamp())}}}', 7_200),
        ("Too much for now, come back in 45 minutes", 2_700),
        (f"usage limit reached|{int((NOW + timedelta(hours=2)).timestamp())}", 7_200),
        ("Limit reached for this model and this organisation. Please try again in 1h30m", 5_400),
        ("resets at 9am PST", 4.5 * 3_600),
        ("Resets at 3:00 PM ET", 7.5 * 3_600),
        ("resets at 15:00 CET", 1.5 * 3_600),
        ("resets at 15:00 UTC+2", 1_800),
        ("resets at 15:00 -05:00", 7.5 * 3_600),
        ("Retry after 6 seconds. With no daily quota left, wait 24 hours.", 6),
        ("You may have to wait 24 hours; try again in 6 seconds.", 6),
        ("Used up on 2026-01-01T00:00:00Z, resets at 2026-11-30T13:00:00Z", 1_800),
        ("resets at 9am XYZT", None),
        ("resets 9am (Nowhere/Else)", None),
        ("slow down", None),
        ("try again later", None),
        ("Limit 30000, Used 29000, Requested 2000", None),
        ("Reset your password at https://example.org/14", None),
    ],
)
def test_words_say_when_a_limit_ends(text: str, seconds: float | None) -> None:
    found = until(text)
    assert found == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after": format_datetime(NOW + timedelta(hours=1), usegmt=True)}, 3_600),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after_ms": "1500"}, 1.5),
        ({"x_ratelimit_reset_requests": "6m0s"}, 360),
        ({"x_ratelimit_reset_requests": "1s", "x_ratelimit_reset_tokens": "6m0s"}, 360),
        (
            {
                "x_ratelimit_reset_requests": "1s",
                "x_ratelimit_remaining_requests": "0",
                "x_ratelimit_reset_tokens": "6m0s",
                "x_ratelimit_remaining_tokens": "5000",
            },
            1,
        ),
        ({"x_ratelimit_reset": str(int(NOW.timestamp()) + 90)}, 90),
        ({"x_ratelimit_reset": str((int(NOW.timestamp()) + 90) * 1000)}, 90),
        ({"anthropic_ratelimit_tokens_reset": "2026-11-30T12:31:00Z"}, 60),
        ({"ratelimit_reset": "30"}, 30),
        ({"x_request_id": "9"}, None),
    ],
)
def test_headers_say_when_a_limit_ends(headers: dict[str, str], seconds: float | None) -> None:
    assert until(**headers) == (None if seconds is None else pytest.approx(seconds))


def test_a_header_is_believed_before_words() -> None:
    assert until("wait 24 hours", retry_after="6") == 6
    assert until("try again in 6 seconds", retry_after="60") == 60
    assert until("try again in 6 seconds", retry_after="0") == 6
    assert until("try again in 6 seconds", x_ratelimit_reset="60") == 6


def test_rate_headers_of_another_error_say_nothing() -> None:
    assert until(status=500, x_ratelimit_reset="30") is None


def test_a_moment_that_has_passed_is_no_wait() -> None:
    assert until(retry_after=format_datetime(NOW - timedelta(hours=1), usegmt=True)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "resets 12:29pm (utc)",
        "resets at 12:28 UTC",
        f'{{"resets_at": {int((NOW - timedelta(seconds=3)).timestamp())}}}',
    ],
)
def test_a_moment_that_has_only_just_passed_is_now_and_not_a_day_ahead(text: str) -> None:
    """The server's clock may be behind: its limit ends in a moment."""
    assert until(text) == 1


def test_the_time_of_day_of_a_limit_that_ended_long_ago_is_tomorrows() -> None:
    assert until("resets at 12:15 UTC") == 23.75 * 3_600


@pytest.mark.parametrize(
    "said",
    [
        "0001-01-01 00:00:00+14:00",
        "Mon, 99 Jan 99999999999999999999 00:00:00 GMT",
        "3pm (America/Argentina)",
        "Dec 31 9999 11:59 PM (UTC-14:00)",
        "9" * 5_000,
        "9" * 5_000 + " days",
    ],
)
def test_a_moment_that_is_none_says_nothing(said: str) -> None:
    assert until(f"try again at {said}", retry_after=said) in (None, 0.0)

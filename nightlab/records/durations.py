"""A length of time, as people say it."""

SECONDS_PER_HOUR = 3600


def in_words(seconds: float) -> str:
    """Two digits of seconds, then minutes, then hours and minutes."""
    if seconds < 99.5:
        return f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"

"""Numbers of things, as people say them."""


def counted(count: float, one: str, several: str | None = None) -> str:
    """A number with its noun: ``1 trial``, ``2 trials``, ``0.5 hours``, ``1,024 pairs``.

    Args:
        count: how many there are.
        one: the words for one of them.
        several: the words for any other number; left out, ``one`` with an s.
    """
    number = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{number} {one if count == 1 else several or f'{one}s'}"

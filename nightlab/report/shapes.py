"""SVG by hand: a few shapes, the scale of an axis, and its ticks. All text is escaped."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nightlab.shown import for_html


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places on the drawing."""

    low: float
    high: float
    start: float
    """Place of ``low``, in the drawing's units."""
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value; outside of the scale it lies outside of the drawing."""
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def element(name: str, content: str, *, is_text: bool = False, **attributes: str) -> str:
    """An element; an attribute's name takes ``_`` for ``-``, and one at its end is dropped.

    Args:
        name: of the element.
        content: markup, unless ``is_text`` says that it is to be escaped.
        is_text: whether the content is text from anywhere.
        attributes: escaped.
    """
    inner = for_html(content) if is_text else content
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-") if key != "viewBox" else key}="{for_html(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{shown}>{inner}</{name}>"


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """A straight line; ``kind`` is its CSS class."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def circle(x: float, y: float, radius: float, kind: str) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{kind}"/>'


def path(corners: Iterable[tuple[float, float]], kind: str, *, is_closed: bool = False) -> str:
    """A line through corners."""
    places = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
    return f'<path d="M{places}{"Z" if is_closed else ""}" class="{kind}"/>'


def text(x: float, y: float, said: str, kind: str, anchor: str) -> str:
    """A line of text; ``anchor`` is ``start``, ``middle`` or ``end``."""
    place = f'x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}"'
    return f"<text {place}>{for_html(said)}</text>"


def nice_steps(
    low: float, high: float, most: int, *, whole: bool = False
) -> Iterator[tuple[float, str]]:
    """Round values between two, at most so many, each with its text.

    Args:
        low: of the axis.
        high: of the axis; not below ``low``.
        most: values.
        whole: whether only whole numbers will do.
    """
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return
    step = 10.0 ** math.floor(math.log10(span / most))
    factors = (1, 2, 5, 10, 20, 50, 100)
    step = next((step * each for each in factors if span / (step * each) <= most), step * 100)
    if whole:
        step = max(1.0, step)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield index * step, f"{index * step:.{decimals}f}"

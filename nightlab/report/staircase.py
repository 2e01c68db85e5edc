"""Draws val_bpb over trials as SVG text: the picture of a study, in its page and by itself.

Colours come from the style sheet, so that one drawing serves light and dark; every trial
says its title where the pointer rests on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nightlab.judging.scores import running_best
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.report.shapes import Scale, circle, element, line, nice_steps, path, text
from nightlab.report.study import Study, interval_of

WIDE, NARROW = 880, 420
"""Widths of the drawing, in its own units: for screens and paper, and for phones."""
HEIGHT = 380
LEFT, RIGHT, TOP, BOTTOM = 58, 18, 18, 50
OUTLIER_SPANS = 0.6
"""How far above the baseline the axis may reach, in units of the span below it."""
LABEL_LETTERS = 44
FEWEST_LETTERS = 10
"""A label with room for fewer letters of the title is the score alone."""
LETTER_WIDTH = 6.6
LABEL_GAP = 17
"""Labels closer than this would run into each other."""
MANY = 60
"""Trials above which points are drawn smaller."""
SAMPLE = (24, 12)
"""Size of a mark in the legend."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things are drawn."""

    width: int
    across: Scale
    up: Scale
    radius: float

    @property
    def right(self) -> float:
        """Where the axis ends."""
        return self.width - RIGHT

    def is_above(self, score: float | None) -> bool:
        """Whether a score is worse than the axis shows."""
        return score is not None and score > self.up.high


def draw_staircase(study: Study, width: int = WIDE) -> str:
    """Return the drawing as an ``svg`` element; what records say in it is escaped."""
    frame = _frame(study, width)
    scored = any(record.val_bpb is not None for record in study.records)
    parts = [
        *_axes(study, frame, is_scored=scored),
        *_best(study, frame),
        *_points(study, frame),
        *_confirmation(study, frame),
        *_unscored(study, frame),
        *_labels(study, frame),
    ]
    if not scored:
        parts.append(text(width / 2, HEIGHT / 2, "No trial has a score yet", "label", "middle"))
    return element(
        "svg",
        "".join(parts),
        viewBox=f"0 0 {width} {HEIGHT}",
        width=str(width),
        height=str(HEIGHT),
        role="img",
        aria_label="val_bpb over trials, kept ones marked, with the running best",
        class_="staircase",
    )


def legend(study: Study) -> list[tuple[str, str]]:
    """What each kind of mark in the drawing stands for: a sample of it, and the words.

    Only of what is drawn.
    """
    frame, records, again = _frame(study, WIDE), study.records, study.confirmation
    shown = [each for each in records if _is_point(each)]
    x, y = SAMPLE[0] / 2, SAMPLE[1] / 2
    kinds = [
        (any(each.verdict is Verdict.KEEP for each in shown), circle(x, y, 5, "keep"), "kept"),
        (
            any(
                each.verdict is Verdict.DISCARD and not frame.is_above(each.val_bpb)
                for each in shown
            ),
            circle(x, y, 5, "discard"),
            "discarded",
        ),
        (any(map(interval_of, shown)), line(x, 0, x, 2 * y, "interval"), "95 % interval"),
        (bool(running_best(records)), line(0, y, 2 * x, y, "best"), "running best"),
        (study.baseline_bpb is not None, line(0, y, 2 * x, y, "baseline"), "baseline"),
        (
            again is not None and again.gain_bpb is not None,
            _diamond(x, y, again is not None and bool(again.holds)),
            "confirmed on holdout" if again and again.holds else "NOT confirmed on holdout",
        ),
        (any(frame.is_above(each.val_bpb) for each in shown), _outlier(x, y), "worse than shown"),
        (any(each.reason is Reason.PRUNED for each in records), _cross(x, y), "stopped early"),
        (study.count(Verdict.CRASH) > 0, line(x, 0, x, 2 * y, "crash"), "crashed"),
        (study.count(Verdict.FAILED) > 0, line(x, 0, x, 2 * y, "failed"), "failed (machinery)"),
    ]
    return [(sample, said) for is_drawn, sample, said in kinds if is_drawn]


def _frame(study: Study, width: int) -> _Frame:
    numbers = [record.number for record in study.records] or [0]
    low, high = _limits(study)
    margin = max(0.5, 0.02 * (numbers[-1] - numbers[0]))
    return _Frame(
        width=width,
        across=Scale(numbers[0] - margin, numbers[-1] + margin, LEFT, width - RIGHT),
        up=Scale(low, high, HEIGHT - BOTTOM, TOP),
        radius=5.5 if len(numbers) <= MANY * width / WIDE else 3.5,
    )


def _limits(study: Study) -> tuple[float, float]:
    """The axis shows every keep; one bad idea may not squash all others into a line."""
    scores = [record.val_bpb for record in study.records if record.val_bpb is not None]
    if not scores:
        return 0.0, 1.0
    kept = [record.val_bpb for record in study.kept() if record.val_bpb is not None]
    noise = study.noise_bpb or 0.0
    low, top = min(scores), max(kept or scores)
    span = max(top - low, 4 * noise, abs(top) * 0.004)
    high = min(max(scores), top + max(OUTLIER_SPANS * span, 4 * noise))
    pad = max(0.1 * (high - low), 1.6 * noise, abs(top) * 0.001)
    return low - 1.5 * pad, high + pad


def _axes(study: Study, frame: _Frame, *, is_scored: bool) -> Iterator[str]:
    across, up = frame.across, frame.up
    if is_scored:
        for value, said in nice_steps(up.low, up.high, 6):
            y = up(value)
            yield line(LEFT, y, frame.right, y, "grid")
            yield text(LEFT - 8, y + 4, said, "tick", "end")
    most = max(1, min(frame.width // 70, len(study.records)))
    for value, said in nice_steps(across.low, across.high, most, whole=True):
        yield text(across(value), HEIGHT - BOTTOM + 20, said, "tick", "middle")
    yield text((LEFT + frame.right) / 2, HEIGHT - 8, "trial", "tick", "middle")


def _best(study: Study, frame: _Frame) -> Iterator[str]:
    steps = running_best(study.records)
    if not steps:
        return
    across, up = frame.across, frame.up
    if study.baseline_bpb is not None:
        y = up(study.baseline_bpb)
        yield line(LEFT, y, frame.right, y, "baseline")
    corners = [(across(steps[0][0]), up(steps[0][1]))]
    for number, score in steps[1:]:
        corners += [(across(number), corners[-1][1]), (across(number), up(score))]
    corners.append((across(study.records[-1].number + 0.4), corners[-1][1]))
    yield path(corners, "best")


def _is_point(record: TrialRecord) -> bool:
    """Whether a trial is drawn where its score is."""
    return record.val_bpb is not None and record.verdict in (Verdict.DISCARD, Verdict.KEEP)


def _points(study: Study, frame: _Frame) -> Iterator[str]:
    """Keeps last, so that they lie on top."""
    shown = filter(_is_point, study.records)
    for record in sorted(shown, key=lambda each: each.verdict is Verdict.KEEP):
        score, x = record.val_bpb or 0.0, frame.across(record.number)
        if frame.is_above(score):
            mark = _outlier(x, TOP + 5)
        else:
            mark = _interval(record, frame)
            mark += circle(x, frame.up(score), frame.radius, record.verdict.value)
        yield _told(record, mark)


def _interval(record: TrialRecord, frame: _Frame) -> str:
    interval = interval_of(record)
    if interval is None:
        return ""
    low, high = (min(max(each, frame.up.low), frame.up.high) for each in interval)
    x = frame.across(record.number)
    return line(x, frame.up(low), x, frame.up(high), f"interval {record.verdict.value}")


def _confirmation(study: Study, frame: _Frame) -> Iterator[str]:
    """The confirmed gain, below the baseline's score, beside the incumbent that claims it."""
    again, baseline, incumbent = study.confirmation, study.baseline_bpb, study.incumbent
    if again is None or again.gain_bpb is None or again.interval_bpb is None:
        return
    if baseline is None or incumbent is None:
        return
    low, high = (baseline - each for each in reversed(again.interval_bpb))
    low, high = max(low, frame.up.low), min(high, frame.up.high)
    x = min(frame.across(incumbent.number) + 14, frame.right - 6)
    y = frame.up(min(max(baseline - again.gain_bpb, frame.up.low), frame.up.high))
    kind = "confirmed" if again.holds else "unconfirmed"
    span = line(x, frame.up(low), x, frame.up(high), f"interval {kind}")
    mark = span + _diamond(x, y, bool(again.holds))
    yield element("g", element("title", again.sentence, is_text=True) + mark)


def _unscored(study: Study, frame: _Frame) -> Iterator[str]:
    """Crashes and failures as ticks below, what was stopped early as crosses above."""
    for record in study.records:
        x = frame.across(record.number)
        if record.verdict in (Verdict.CRASH, Verdict.FAILED):
            foot = HEIGHT - BOTTOM
            yield _told(record, line(x, foot - 12, x, foot, record.verdict.value))
        elif record.reason is Reason.PRUNED:
            yield _told(record, _cross(x, TOP + 5))


def _outlier(x: float, y: float) -> str:
    return path(((x - 5, y + 4), (x, y - 4), (x + 5, y + 4)), "outlier", is_closed=True)


def _cross(x: float, y: float) -> str:
    return line(x - 4, y - 4, x + 4, y + 4, "stopped") + line(x - 4, y + 4, x + 4, y - 4, "stopped")


def _diamond(x: float, y: float, holds: bool) -> str:
    corners = ((x - 6, y), (x, y - 6), (x + 6, y), (x, y + 6))
    return path(corners, f"diamond {'confirmed' if holds else 'unconfirmed'}", is_closed=True)


def _labels(study: Study, frame: _Frame) -> Iterator[str]:
    """Name keeps below the running best and left of their point, where nothing else is drawn.

    The latest is sure of its label; others only where there is room.
    """
    kept = [each for each in study.kept() if each.val_bpb is not None]
    taken: list[float] = []
    for record in reversed(kept):
        x, y = frame.across(record.number), frame.up(record.val_bpb or 0.0)
        if taken and any(abs(y - other) < LABEL_GAP for other in taken):
            continue
        taken.append(y)
        score = f"{record.val_bpb:.4f}"
        is_first = record is kept[0]
        room = frame.right - x if is_first else x - LEFT
        letters = min(LABEL_LETTERS, int(room / LETTER_WIDTH) - len(score) - 4)
        said = f"{score}  {_cut(record.title, letters)}" if letters >= FEWEST_LETTERS else score
        if is_first:
            yield text(x + 9, y - 9, said, "label", "start")
        elif room < (len(score) + 2) * LETTER_WIDTH:
            yield text(x + 9, y + 17, said, "label", "start")
        else:
            yield text(x - 9, y + 17, said, "label", "end")


def _told(record: TrialRecord, mark: str) -> str:
    """A mark that says what it stands for where the pointer rests on it."""
    said = f"Trial {record.number}: {record.title}\n{record.decision.sentence}"
    return element("g", element("title", said, is_text=True) + mark)


def _cut(title: str, letters: int) -> str:
    title = " ".join(title.split())
    return title if len(title) <= letters else f"{title[: letters - 1].rstrip()}…"

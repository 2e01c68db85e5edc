"""Draws val_bpb over trials as SVG text, for the page: cheap enough to draw while a session runs.

Colours come from the page's style sheet, so that one drawing serves light and dark; every trial
says its title where the pointer rests on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nightlab.judging.scores import running_best
from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.report.shapes import Scale, circle, element, line, nice_steps, path, text
from nightlab.report.study import Study, interval_of

WIDTH, HEIGHT = 1040, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 18, 56
OUTLIER_SPANS = 0.6
"""How far above the baseline the axis may reach, in units of the span below it."""
LABEL_LETTERS = 44
LETTER_WIDTH = 6.4
LABEL_GAP = 17
"""Labels closer than this would run into each other."""
MANY = 60
"""Trials above which points are drawn smaller."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things are drawn."""

    across: Scale
    up: Scale
    radius: float


def draw_staircase(study: Study) -> str:
    """Return the drawing as an ``svg`` element; what records say in it is escaped."""
    numbers = [record.number for record in study.records] or [0]
    low, high = _limits(study)
    margin = max(0.5, 0.02 * (numbers[-1] - numbers[0]))
    frame = _Frame(
        across=Scale(numbers[0] - margin, numbers[-1] + margin, LEFT, WIDTH - RIGHT),
        up=Scale(low, high, HEIGHT - BOTTOM, TOP),
        radius=5.5 if len(study.records) <= MANY else 3.5,
    )
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
        parts.append(text(WIDTH / 2, HEIGHT / 2, "No trial has a score yet", "label", "middle"))
    return element(
        "svg",
        "".join(parts),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label="val_bpb over trials, kept ones marked, with the running best",
        class_="staircase",
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
            yield line(LEFT, y, WIDTH - RIGHT, y, "grid")
            yield text(LEFT - 8, y + 4, said, "tick", "end")
    most = max(1, min(12, len(study.records)))
    for value, said in nice_steps(across.low, across.high, most, whole=True):
        yield text(across(value), HEIGHT - BOTTOM + 20, said, "tick", "middle")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "trial", "tick", "middle")


def _best(study: Study, frame: _Frame) -> Iterator[str]:
    steps = running_best(study.records)
    if not steps:
        return
    across, up = frame.across, frame.up
    if study.baseline_bpb is not None:
        y = up(study.baseline_bpb)
        yield line(LEFT, y, WIDTH - RIGHT, y, "baseline")
    corners = [(across(steps[0][0]), up(steps[0][1]))]
    for number, score in steps[1:]:
        corners += [(across(number), corners[-1][1]), (across(number), up(score))]
    corners.append((across(study.records[-1].number + 0.4), corners[-1][1]))
    yield path(corners, "best")


def _points(study: Study, frame: _Frame) -> Iterator[str]:
    """Keeps last, so that they lie on top."""
    scored = [each for each in study.records if each.val_bpb is not None]
    shown = [each for each in scored if each.verdict in (Verdict.DISCARD, Verdict.KEEP)]
    for record in sorted(shown, key=lambda each: each.verdict is Verdict.KEEP):
        score = record.val_bpb or 0.0
        x, kind = frame.across(record.number), record.verdict.value
        if score > frame.up.high:
            corners = ((x - 5, TOP + 9.0), (x, TOP + 1.0), (x + 5, TOP + 9.0))
            mark = path(corners, "outlier", is_closed=True)
        else:
            mark = _interval(record, frame) + circle(x, frame.up(score), frame.radius, kind)
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
    x = min(frame.across(incumbent.number) + 14, WIDTH - RIGHT - 6)
    y = frame.up(min(max(baseline - again.gain_bpb, frame.up.low), frame.up.high))
    kind = "confirmed" if again.holds else "unconfirmed"
    corners = ((x - 6, y), (x, y - 6), (x + 6, y), (x, y + 6))
    diamond = path(corners, f"diamond {kind}", is_closed=True)
    span = line(x, frame.up(low), x, frame.up(high), f"interval {kind}")
    yield element("g", element("title", again.sentence, is_text=True) + span + diamond)


def _unscored(study: Study, frame: _Frame) -> Iterator[str]:
    """Crashes and failures as ticks below, what was stopped early as crosses above."""
    for record in study.records:
        x = frame.across(record.number)
        if record.verdict in (Verdict.CRASH, Verdict.FAILED):
            foot = HEIGHT - BOTTOM
            yield _told(record, line(x, foot - 12, x, foot, record.verdict.value))
        elif record.reason is Reason.PRUNED:
            strokes = line(x - 4, TOP + 1, x + 4, TOP + 9, "stopped")
            yield _told(record, strokes + line(x - 4, TOP + 9, x + 4, TOP + 1, "stopped"))


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
        letters = min(LABEL_LETTERS, int((x - LEFT) / LETTER_WIDTH) - len(score) - 4)
        if record is kept[0]:
            title = _cut(record.title, LABEL_LETTERS)
            yield text(x + 9, y - 9, f"{score}  {title}", "label", "start")
        elif letters < 10:
            yield text(x + 9, y + 17, score, "label", "start")
        else:
            yield text(x - 9, y + 17, f"{score}  {_cut(record.title, letters)}", "label", "end")


def _told(record: TrialRecord, mark: str) -> str:
    """A mark that says what it stands for where the pointer rests on it."""
    said = f"Trial {record.number}: {record.title}\n{record.decision.sentence}"
    return element("g", element("title", said, is_text=True) + mark)


def _cut(title: str, letters: int) -> str:
    title = " ".join(title.split())
    return title if len(title) <= letters else f"{title[: letters - 1].rstrip()}…"

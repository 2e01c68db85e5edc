"""What a person sees in the terminal while a session works.

On a terminal: the trial, the seconds left, the loss curve, tokens per second and the
table of trials, redrawn in place. Elsewhere (a file, a pipe, CI): one line an event.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.printing import trial_table
from flows.session_state import TRAINING_STEPS, SessionState, Training
from flows.terminal import Terminal
from nightlab import events
from nightlab.judging.score_text import format_chance
from nightlab.ledger import Ledger
from nightlab.records import CurvePoint, TrialRecord

SPARKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 60
BAR_WIDTH = 40
ROWS = 15


class LiveView:
    """Follows a session's events and draws them."""

    def __init__(self, study: str, records: tuple[TrialRecord, ...]) -> None:
        self._state = SessionState(study, records)
        self._guard = threading.Lock()

    def listen(self, event: events.Event) -> None:
        """Take one event in."""
        with self._guard:
            self._state.take(event)

    def __rich__(self) -> RenderableType:
        with self._guard:
            parts: list[RenderableType] = [self._now()]
            records = self._state.records
            if records:
                parts.append(trial_table(records[-ROWS:], hidden=len(records[:-ROWS])))
            return Group(*parts)

    def _now(self) -> RenderableType:
        step = self._state.step
        if step is None:
            return Text("Starting …")
        elapsed = time.monotonic() - self._state.step_began
        head = "session" if step.number is None else f"trial {step.number}"
        title = f"{self._state.study} · {head} · {step.step}"
        lines: list[RenderableType] = [Text(f"{step.title} {step.detail}".strip() or step.step)]
        for training in self._state.trainings.values():
            lines.append(_training_lines(training, self._state.name_of(training)))
        if step.step not in TRAINING_STEPS or not self._state.trainings:
            lines.append(Text(f"{elapsed:.0f} s", style="dim"))
        if self._state.pairs:
            lines.append(Text(self._pairs()))
        return Panel(Group(*lines), title=Text(title), title_align="left", border_style="blue")

    def _pairs(self) -> str:
        differences = ", ".join(f"{pair.difference_bpb:+.4f}" for pair in self._state.pairs)
        chance = format_chance(self._state.probability_better)
        return f"pairs so far: {differences} bpb; chance that it is better: {chance}"


def _training_lines(training: Training, whose: str) -> RenderableType:
    """One training: whose it is, its clock, and its curve."""
    table = Table.grid(padding=(0, 1))
    name = f"{whose} · seed {training.seed}"
    if training.gate is None:
        gone = time.monotonic() - training.began
        table.add_row(name, Text(f"starting up, outside the budget · {gone:.0f} s", style="dim"))
    elif training.is_scored:
        table.add_row(name, Text("trained; it is scored now", style="dim"))
    else:
        table.add_row(name, *_clock(training, training.gate))
    if not training.points:
        return table
    return Group(table, Text(_curve(training.points)))


def _clock(training: Training, gate: events.GateOpened) -> tuple[RenderableType, str]:
    """How much of the budget is gone: by the clock that it is counted in, once it was told."""
    last = training.points[-1] if training.points else None
    gone = last.seconds if last is not None else 0.0
    seconds_left = max(0.0, gate.budget_seconds - gone)
    if gate.budget_tokens is not None:
        used = (last.tokens or 0) if last is not None else 0
        left = max(0, gate.budget_tokens - used)
        said = f"{left:,} tokens left of {gate.budget_tokens:,}, within {seconds_left:.0f} s"
        total, completed = float(gate.budget_tokens), float(used)
    else:
        said = f"{seconds_left:.0f} s left of {gate.budget_seconds:.0f}"
        total, completed = gate.budget_seconds, gone
    return ProgressBar(total=total, completed=min(completed, total), width=BAR_WIDTH), said


def _curve(points: list[CurvePoint]) -> str:
    losses = [point.loss for point in points if point.loss is not None]
    last = points[-1]
    rate = f"{last.tokens / last.seconds:,.0f} tokens/s" if last.tokens and last.seconds else ""
    loss = f"loss {losses[-1]:.3f}" if losses else ""
    return f"{spark_line(losses)}  {loss}  step {last.step}  {rate}"


def spark_line(values: list[float], width: int = CURVE_WIDTH) -> str:
    """Draw values as one line of block characters, the lowest as the lowest block."""
    if not values:
        return ""
    stride = max(1, len(values) / width)
    picked = [values[int(index * stride)] for index in range(min(width, len(values)))]
    # Candidates may report any finite number: halved, the span of two is one too.
    low, high = min(picked) / 2, max(picked) / 2
    span = (high - low) or 1.0
    return "".join(SPARKS[int((value / 2 - low) / span * (len(SPARKS) - 1))] for value in picked)


class PlainView:
    """One line an event, for places where nothing can be redrawn."""

    def __init__(self, console: Terminal) -> None:
        self._console = console
        self._said = ""

    def listen(self, event: events.Event) -> None:
        """Take one event in."""
        line = self._line(event)
        if line and line != self._said:
            self._said = line
            self._console.say(line)

    def _line(self, event: events.Event) -> str:
        if isinstance(event, events.StepBegun):
            if event.number is None:
                # What counts up (megabytes, shards) is one line, not hundreds.
                return f"{event.step}: {event.title.rstrip('0123456789 MB.:')}"
            seed = "" if event.seed is None else f" (seed {event.seed})"
            if event.step == "record":
                return ""
            whose = (
                f" {event.detail}" if event.step in ("train", "evaluate") and event.detail else ""
            )
            return f"trial {event.number}: {event.step}{whose} {event.title}{seed}"
        if isinstance(event, events.TrialEnded):
            record = event.record
            return (
                f"trial {record.number}: {record.verdict.value} ({record.reason_text}) "
                f"{record.decision.sentence}"
            )
        return event.text if isinstance(event, events.Notice) else ""


@contextmanager
def watching(console: Terminal, ledger: Ledger) -> Iterator[None]:
    """Show a session's events on the console while the block runs."""
    if not console.is_terminal:
        with events.listening(PlainView(console).listen):
            yield
        return
    view = LiveView(ledger.study, ledger.records())

    def keep_notices(event: events.Event) -> None:
        # Printed above the view, so that it still stands there in the morning.
        if isinstance(event, events.Notice):
            console.print(f"• {event.text}", style="dim")

    with (
        events.listening(view.listen),
        events.listening(keep_notices),
        Live(view, console=console, refresh_per_second=4, transient=True),
    ):
        yield

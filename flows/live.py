"""What a person sees in the terminal while a session works.

On a terminal: the trial, the seconds left, the loss curve, tokens per second and the
table of trials, redrawn in place. Elsewhere (a file, a pipe, CI): one line an event.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.printing import trial_table
from nightlab import events
from nightlab.ledger import Ledger
from nightlab.records import CurvePoint, TrialRecord

SPARKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 60
ROWS = 15
TRAINING_STEPS = ("train", "confirm")


class LiveView:
    """Follows a session's events and draws them."""

    def __init__(self, study: str, records: tuple[TrialRecord, ...]) -> None:
        self.study = study
        self.records = list(records)
        self._guard = threading.Lock()
        self._step: events.StepBegun | None = None
        self._step_began = time.monotonic()
        self._gate: events.GateOpened | None = None
        self._gate_opened = 0.0
        self._points: list[CurvePoint] = []

    def listen(self, event: events.Event) -> None:
        """Take one event in."""
        with self._guard:
            if isinstance(event, events.StepBegun):
                self._step, self._step_began = event, time.monotonic()
                self._gate = None
                if event.step in TRAINING_STEPS:
                    self._points = []
            elif isinstance(event, events.GateOpened):
                self._gate, self._gate_opened = event, time.monotonic()
            elif isinstance(event, events.Trained):
                self._points.append(event.point)
            elif isinstance(event, events.TrialEnded):
                self.records.append(event.record)

    def __rich__(self) -> RenderableType:
        with self._guard:
            parts: list[RenderableType] = [self._now()]
            if self.records:
                parts.append(trial_table(self.records[-ROWS:], hidden=len(self.records[:-ROWS])))
            return Group(*parts)

    def _now(self) -> RenderableType:
        step = self._step
        if step is None:
            return Text("Starting …")
        elapsed = time.monotonic() - self._step_began
        head = "session" if step.number is None else f"trial {step.number}"
        title = f"{self.study} · {head} · {step.step}"
        seed = "" if step.seed is None else f" · seed {step.seed}"
        lines: list[RenderableType] = [Text(f"{step.title} {step.detail}".strip() or step.step)]
        if step.step in TRAINING_STEPS:
            lines.append(self._clock(elapsed))
            if self._points:
                lines.append(self._curve())
        else:
            lines.append(Text(f"{elapsed:.0f} s", style="dim"))
        return Panel(Group(*lines), title=title + seed, title_align="left", border_style="blue")

    def _clock(self, elapsed: float) -> RenderableType:
        if self._gate is None:
            return Text(f"starting up, outside the budget · {elapsed:.0f} s", style="dim")
        gone = time.monotonic() - self._gate_opened
        budget, tokens = self._gate.budget_seconds, self._gate.budget_tokens
        if tokens is not None:
            return self._token_count(tokens, budget - gone)
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=budget, completed=min(gone, budget), width=40),
            f"{max(0.0, budget - gone):.0f} s left of {budget:.0f}",
        )
        return row

    def _token_count(self, budget: int, seconds_left: float) -> RenderableType:
        used = (self._points[-1].tokens or 0) if self._points else 0
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(total=budget, completed=min(used, budget), width=40),
            f"{max(0, budget - used):,} tokens left of {budget:,}, "
            f"within {max(0.0, seconds_left):.0f} s",
        )
        return row

    def _curve(self) -> RenderableType:
        losses = [point.loss for point in self._points if point.loss is not None]
        last = self._points[-1]
        rate = f"{last.tokens / last.seconds:,.0f} tokens/s" if last.tokens and last.seconds else ""
        loss = f"loss {losses[-1]:.3f}" if losses else ""
        return Text(f"{spark_line(losses)}  {loss}  step {last.step}  {rate}")


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

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = ""

    def listen(self, event: events.Event) -> None:
        """Take one event in."""
        line = self._line(event)
        if line and line != self._said:
            self._said = line
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)

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
                f"trial {record.number}: {record.verdict.value} ({record.reason.value}) "
                f"{record.decision.sentence}"
            )
        return event.text if isinstance(event, events.Notice) else ""


@contextmanager
def watching(console: Console, ledger: Ledger) -> Iterator[None]:
    """Show a session's events on the console while the block runs."""
    if not console.is_terminal:
        with events.listening(PlainView(console).listen):
            yield
        return
    view = LiveView(ledger.study, ledger.records())

    def keep_notices(event: events.Event) -> None:
        # Printed above the view, so that it still stands there in the morning.
        if isinstance(event, events.Notice):
            console.print(Text(f"• {event.text}", style="dim"))

    with (
        events.listening(view.listen),
        events.listening(keep_notices),
        Live(view, console=console, refresh_per_second=4, transient=True),
    ):
        yield

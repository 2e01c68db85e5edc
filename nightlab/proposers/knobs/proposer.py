"""The proposer without a language model: moves the knobs that ``train.py`` declares.

It begins with coarse moves, one constant at a time, the size of the model first; then it makes what
leaned the right way together, and finer steps around what mattered
(nightlab/proposers/knobs/plan.py); and when all of these are made, one to three knobs at a time
move within a quarter of their ranges, to values that Optuna's TPE draws
(nightlab/proposers/knobs/sampling.py).

A combination that was tried, or one too near to it to matter, is not proposed again, nor one that
goes as far as a knob trial that crashed. What an edit changed about the knobs is seen at once:
those that it removed are left out, and one that it brought is moved first, since its value was
never tuned.

Nothing is stored: all is rebuilt from the records each time, and the randomness depends on the
study's seed and the trial's number only, so that a resumed trial gets the same idea. Trials
that are under way elsewhere have no record yet: so many ideas are left to them.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nightlab.errors import UsageError
from nightlab.proposers.brief import Brief
from nightlab.proposers.edits import edit_between
from nightlab.proposers.knobs.history import TUNER, History
from nightlab.proposers.knobs.moves import partners
from nightlab.proposers.knobs.plan import Move, coarse_moves, plan
from nightlab.proposers.knobs.sampling import STARTUP_TRIALS, drawn_move, tpe_sampler
from nightlab.proposers.knobs.space import is_near
from nightlab.records import Proposal, TrialRecord, Verdict
from nightlab.records.counting import counted
from nightlab.settings import TRAINER_FILE
from nightlab.source.knobs import Knob, Value, knob_values, read_knobs, set_knobs

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

VALUES_OF_NEW = 3
"""A knob that an edit brought is moved until it was tried at so many values."""
MOST_ELSEWHERE = 16
"""Trials further back that have no record are lost, not under way."""


class KnobProposer:
    """Moves a few declared knobs at a time; needs no key and no network."""

    name = TUNER
    model: str | None = None
    reads = False
    needs_money = False

    def __init__(
        self, sampler: Callable[[int], "BaseSampler"] = tpe_sampler, *, plans: bool = True
    ) -> None:
        """Set it up.

        Args:
            sampler: what draws the values once the planned moves are made.
            plans: whether there are any; benches leave them out to compare.
        """
        self._sampler = sampler
        self._plans = plans

    def propose(self, brief: Brief, first: Collection[str] | None = None) -> Proposal:
        """Propose new values of one or a few knobs.

        Args:
            brief: the state of the study.
            first: where an edit is tried again: the knobs that it brought, of which one is
                moved if there are any.

        Raises:
            UsageError: no knob is declared, or every combination in reach was tried.
        """
        knobs = read_knobs(brief.incumbent_source)
        if not knobs:
            raise UsageError(
                f"The knobs proposer needs UPPERCASE constants with ranges in {TRAINER_FILE}, such "
                "as `DEPTH = 4  # 2..12`, and found none: declare some, or name a model with "
                "--model."
            )
        search = _Search(brief, knobs)
        new = first or new_knobs(knobs, brief.records)
        planned = self._planned(search, new, is_rescue=first is not None)
        move = search.pick(planned) or search.drawn(self._sampler(brief.draw_seed()), new)
        told = _told(new, gone_knobs(knobs, brief.records))
        changes = search.with_partners(move.changes) or move.changes
        return Proposal(
            title=_title(knobs, changes),
            hypothesis=f"{move.why}{told}",
            edits=edit_between(brief.incumbent_source, set_knobs(brief.incumbent_source, changes)),
            proposer=self.name,
        )

    def repair(self, brief: Brief, proposal: Proposal, problem: str) -> Proposal | None:
        """Return None: values are chosen without knowing what a crash means."""
        return None

    def _planned(
        self, search: "_Search", new: Collection[str], *, is_rescue: bool
    ) -> Iterator[Move]:
        """The moves to make before any is drawn.

        An edit is tried again for what suits it, which nothing measured without it tells.
        """
        brief = search.brief
        if not self._plans or (is_rescue and not new):
            return
        counts_tokens = brief.budget_tokens is not None
        if new:
            moves = coarse_moves(search.history, brief.seed, counts_tokens=counts_tokens)
            yield from (move for move in moves if move.changes.keys() & set(new))
            return
        yield from plan(search.history, brief.seed, brief.number, counts_tokens=counts_tokens)


class _Search:
    """What may still be tried."""

    def __init__(self, brief: Brief, knobs: Mapping[str, Knob]) -> None:
        self.brief = brief
        self.knobs = knobs
        self.history = History(knobs, brief.records, brief.noise_bpb)
        self._standing = {name: knob.value for name, knob in knobs.items()}
        self._tried: list[Mapping[str, Any]] = [self._standing]
        self._tried += [
            record.knobs for record in brief.records if record.verdict is not Verdict.FAILED
        ]
        if brief.under_way is not None:
            self._tried.append(self._standing | _added_knobs(brief.under_way.diff))

    def pick(self, moves: Iterator[Move]) -> Move | None:
        """The first open one, but for those left to trials that are under way elsewhere."""
        left = self._elsewhere()
        for move in moves:
            if self.is_open(move.changes):
                if left == 0:
                    return move
                left -= 1
        return None

    def drawn(self, sampler: "BaseSampler", first: Collection[str]) -> Move:
        """A move that Optuna draws.

        Raises:
            UsageError: every combination in reach was tried.
        """
        changes = drawn_move(
            self.brief,
            self.knobs,
            sampler,
            self.brief.draw_seed(),
            first=first,
            is_open=self.is_open,
        )
        if changes is None:
            raise UsageError(
                f"The knobs proposer found no combination of {counted(len(self.knobs), 'knob')} in "
                f"{TRAINER_FILE} that study {self.brief.study!r} has not tried: widen ranges, "
                "declare more knobs, or name a model with --model."
            )
        scored = sum(record.val_bpb is not None for record in self.brief.records)
        how = (
            f"values are drawn by TPE from {counted(scored, 'scored trial')}"
            if scored >= STARTUP_TRIALS
            else f"values are drawn at random until {STARTUP_TRIALS} trials are scored"
        )
        return Move(
            changes,
            f"Moving {len(changes)} of {counted(len(self.knobs), 'knob')} near the incumbent may "
            f"lower val_bpb: {how}.",
        )

    def is_open(self, changes: Mapping[str, Value]) -> bool:
        """Whether these values can be had, are new, and stay clear of what crashed."""
        idea = {**self._standing, **changes}
        if self.with_partners(changes) is None or self.history.would_crash(idea):
            return False
        return not any(is_near(self.knobs, idea, earlier) for earlier in self._tried)

    def with_partners(self, changes: Mapping[str, Value]) -> dict[str, Value] | None:
        """The changes with what must change along; None where a constant stands against them."""
        found = dict(changes)
        for name, knob in self.knobs.items():
            if name not in changes and (knob.divisor is None or knob.divisor.name not in changes):
                continue
            value = changes.get(name, knob.value)
            along = partners(knob, value, changes, self.brief.sequence_length)
            if along is None or along.keys() & changes.keys():
                return None
            found |= along
        return found

    def _elsewhere(self) -> int:
        """How many trials just before have no record yet, but for the one the brief tells of."""
        known = {record.number for record in self.brief.records}
        if self.brief.under_way is not None:
            known.add(self.brief.under_way.number)
        first = max(1, self.brief.number - MOST_ELSEWHERE)
        return len(set(range(first, self.brief.number)) - known)


def new_knobs(knobs: Mapping[str, Knob], records: Sequence[TrialRecord]) -> set[str]:
    """Knobs that an edit brought and that were hardly tuned since: their values are a guess."""
    measured = [record.knobs for record in records if record.verdict is not Verdict.FAILED]
    found = set()
    for name, knob in knobs.items():
        enough = min(VALUES_OF_NEW, len(knob.choices or ()) or VALUES_OF_NEW)
        values = {known[name] for known in measured if name in known}
        if len(values) < enough and any(name not in known for known in measured):
            found.add(name)
    return found


def gone_knobs(knobs: Mapping[str, Knob], records: Sequence[TrialRecord]) -> set[str]:
    """Knobs of the last kept trials before this incumbent that it has no more."""
    kept = [record.knobs for record in records if record.verdict is Verdict.KEEP]
    return set(kept[-2]) - set(knobs) if len(kept) > 1 else set()


def _told(new: Collection[str], gone: Collection[str]) -> str:
    parts = []
    if new:
        parts.append(f" An edit brought {', '.join(sorted(new))}, to be tuned first.")
    if gone:
        parts.append(f" The last kept edit removed {', '.join(sorted(gone))}.")
    return "".join(parts)


def _added_knobs(diff: str) -> dict[str, Value]:
    """The knobs on the lines that a unified diff adds."""
    added = (line[1:] for line in diff.splitlines() if line.startswith("+"))
    return {
        name: value
        for line in added
        for name, value in (knob_values(line + "\n")).items()
        if not line.startswith("++")
    }


def _title(knobs: Mapping[str, Knob], changes: Mapping[str, Value]) -> str:
    before: dict[str, Value] = {
        knob.divisor.name: knob.divisor.value for knob in knobs.values() if knob.divisor
    }
    before |= {name: knob.value for name, knob in knobs.items()}
    return ", ".join(
        f"{name} {_shown(before[name])} → {_shown(value)}" for name, value in changes.items()
    )


def _shown(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)

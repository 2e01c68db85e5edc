"""A person's ideas, queued for a study's proposer.

    refs/nightlab/<study>/suggestions/<NNNN>   annotated tag on a commit of the study

A suggestion waits until a trial whose proposer was shown it has its record; its ref is then
moved forward, and names the trial. Any process may add one while a session runs: nothing here
needs the session's lock, since a number is taken by creating its ref.
"""

from collections.abc import Iterable, Sequence

from nightlab.errors import LedgerError, UsageError
from nightlab.ledger.documents import from_json, message_of, to_json
from nightlab.ledger.names import number_of
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.store import Ledger
from nightlab.records import Suggestion, TrialRecord, Verdict, utc_now

LONGEST_CHARACTERS = 4_000
"""Of a suggestion: it is part of every prompt until a trial takes it."""
_KIND = "suggestions"
_TRIES = 20


def add_suggestion(ledger: Ledger, text: str, commit: str | None = None) -> Suggestion:
    """Queue an idea under the next number.

    Args:
        ledger: the study's.
        text: the idea.
        commit: one of the study's; None for its incumbent.

    Raises:
        UsageError: the text is empty or too long.
        LedgerError: the study has not begun, or git refuses.
    """
    text, commit = checked_text(text), commit or ledger.incumbent()
    for attempt in range(1, _TRIES + 1):
        taken = [number_of(ref) for ref, _ in ledger.numbered_tags(_KIND)]
        number = max(taken, default=-1) + 1
        idea = Suggestion(study=ledger.study, number=number, text=text, made_at=utc_now())
        tag = write_suggestion(ledger.plumbing, idea, commit)
        ref = ledger.refs.suggestion(number)
        try:
            ledger.plumbing.transaction([f"create {ref} {tag}"])
            break
        except LedgerError:  # Another process took the number, or git failed.
            if attempt == _TRIES or ledger.plumbing.resolve(ref) is None:
                raise
    return idea


def checked_text(text: str) -> str:
    """An idea without white space around it.

    Raises:
        UsageError: it is empty or too long.
    """
    text = text.strip()
    if not text:
        raise UsageError(
            "A suggestion needs a text and an empty one was given: say what to try, such as "
            '`nightlab suggest STUDY "untie the embeddings"`.'
        )
    if len(text) > LONGEST_CHARACTERS:
        raise UsageError(
            f"A suggestion may have {LONGEST_CHARACTERS:,} characters, since it stands in the "
            f"prompt, and this one has {len(text):,}: shorten it, or write it into program.md."
        )
    return text


def suggestions(ledger: Ledger) -> tuple[Suggestion, ...]:
    """All suggestions, in order.

    Raises:
        LedgerError: one is unreadable, or was written by a newer Nightlab.
    """
    return tuple(read_suggestion(tag, ref) for ref, tag in ledger.numbered_tags(_KIND))


def waiting_suggestions(ledger: Ledger) -> tuple[Suggestion, ...]:
    """Those that no recorded trial was shown, in order."""
    return tuple(idea for idea in suggestions(ledger) if idea.trial is None)


def suggestions_for(ledger: Ledger, number: int) -> tuple[Suggestion, ...]:
    """Those that a trial's proposer is to be shown: no other trial in flight has them."""
    waiting = waiting_suggestions(ledger)
    if not waiting:
        return ()
    others = [mark.proposal for mark in ledger.marks() if mark.number != number]
    shown = {each for proposal in others if proposal is not None for each in proposal.suggestions}
    return tuple(idea for idea in waiting if idea.number not in shown)


def take_suggestions(ledger: Ledger, numbers: Sequence[int], trial: int) -> None:
    """Write down which trial was shown suggestions; those that have a trial keep it.

    Args:
        ledger: the study's.
        numbers: of the suggestions; unknown ones are passed over.
        trial: the trial that was shown them.

    Raises:
        LedgerError: one of them was changed meanwhile, or git refuses.
    """
    if not numbers:
        return
    plumbing, commands = ledger.plumbing, []
    standing = plumbing.refs(*(ledger.refs.suggestion(number) for number in numbers))
    tags = plumbing.contents(list(standing.values()))
    for (ref, old), tag in zip(standing.items(), tags, strict=True):
        idea = read_suggestion(tag, ref)
        if idea.trial is None:
            taken = idea.model_copy(update={"trial": trial})
            commit = plumbing.line("rev-parse", f"{old}^{{commit}}")
            commands.append(f"update {ref} {write_suggestion(plumbing, taken, commit)} {old}")
    if commands:
        plumbing.transaction(commands)


def settle_suggestions(ledger: Ledger, records: Iterable[TrialRecord]) -> None:
    """Take the suggestions that finished trials were shown.

    A trial that failed through the machinery's fault leaves them waiting. Called with all
    records when a session begins, since a kill may come between a record and this.

    Raises:
        LedgerError: as ``take_suggestions``.
    """
    for record in records:
        if record.suggestions and record.verdict is not Verdict.FAILED:
            take_suggestions(ledger, record.suggestions, record.number)


def write_suggestion(plumbing: Plumbing, idea: Suggestion, commit: str) -> str:
    """Store a suggestion as a tag object on a commit of its study, and return the object."""
    name = f"nightlab/{idea.study}/{_KIND}/{idea.number:04d}"
    return plumbing.write_tag(name, commit, to_json(idea))


def read_suggestion(tag: bytes, where: str) -> Suggestion:
    """Read one from its tag object."""
    return from_json(Suggestion, message_of(tag), where)


def is_same(one: Suggestion, other: Suggestion) -> bool:
    """Whether two copies are of one suggestion, whatever their numbers and trials."""
    return (one.text, one.made_at) == (other.text, other.made_at)

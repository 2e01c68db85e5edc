"""A person's ideas, queued for a study's proposer.

    refs/nightlab/<study>/suggestions/<TIME>-<RANDOM>   annotated tag on a commit of the study

A suggestion waits until a trial whose proposer was shown it has its record; its ref is then
moved forward, and names the trial. Any process on any machine may add one while a session runs:
no two take the same name. Those of earlier studies are numbered, and come first.
"""

import secrets
from collections.abc import Iterable, Sequence

from nightlab.errors import UsageError
from nightlab.ledger.documents import from_json, message_of, to_json
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.store import Ledger
from nightlab.records import Suggestion, TrialRecord, Verdict, utc_now

LONGEST_CHARACTERS = 4_000
"""Of a suggestion: it is part of every prompt until a trial takes it."""
_KIND = "suggestions"


def add_suggestion(ledger: Ledger, text: str, commit: str | None = None) -> Suggestion:
    """Queue an idea.

    Args:
        ledger: the study's.
        text: the idea.
        commit: one of the study's; None for its incumbent.

    Raises:
        UsageError: the text is empty or too long.
        LedgerError: the study has not begun, or git refuses.
    """
    text, commit = checked_text(text), commit or ledger.incumbent()
    now = utc_now()
    name = f"{now:%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}"
    idea = Suggestion(study=ledger.study, name=name, text=text, made_at=now)
    tag = _write_suggestion(ledger.plumbing, idea, commit)
    ledger.plumbing.transaction([f"create {ledger.refs.suggestion(name)} {tag}"])
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
    return tuple(read_suggestion(tag, ref) for ref, tag in ledger.tags(_KIND))


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
    return tuple(idea for idea in waiting if idea.name not in shown)


def take_suggestions(ledger: Ledger, names: Sequence[str], trial: int) -> None:
    """Write down which trial was shown suggestions; those that have a trial keep it.

    Args:
        ledger: the study's.
        names: of the suggestions; unknown ones are passed over.
        trial: the trial that was shown them.

    Raises:
        LedgerError: one of them was changed meanwhile, or git refuses.
    """
    if not names:
        return
    plumbing, commands = ledger.plumbing, []
    standing = plumbing.refs(*(ledger.refs.suggestion(name) for name in names))
    tags = plumbing.contents(list(standing.values()))
    for (ref, old), tag in zip(standing.items(), tags, strict=True):
        idea = read_suggestion(tag, ref)
        if idea.trial is None:
            taken = idea.model_copy(update={"trial": trial})
            commit = plumbing.line("rev-parse", f"{old}^{{commit}}")
            commands.append(f"update {ref} {_write_suggestion(plumbing, taken, commit)} {old}")
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


def read_suggestion(tag: bytes, where: str) -> Suggestion:
    """Read one from its tag object."""
    return from_json(Suggestion, message_of(tag), where)


def is_later(one: Suggestion, other: Suggestion) -> bool:
    """Whether two copies are of one suggestion, and only the first was shown to a trial."""
    return one.trial is not None and other == one.model_copy(update={"trial": None})


def _write_suggestion(plumbing: Plumbing, idea: Suggestion, commit: str) -> str:
    """Store a suggestion as a tag object on a commit of its study, and return the object."""
    name = f"nightlab/{idea.study}/{_KIND}/{idea.name}"
    return plumbing.write_tag(name, commit, to_json(idea))

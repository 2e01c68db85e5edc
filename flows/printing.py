"""Tables and texts for the terminal."""

from collections.abc import Sequence

from rich.table import Table

from flows.terminal import Terminal, code
from nightlab.judging.score_text import (
    NOTHING,
    audit_sentence,
    budget_text,
    false_keeps_sentence,
    format_chance,
    format_score,
    verdict_lines,
    waiting_sentence,
)
from nightlab.ledger import StudySummary
from nightlab.records import InFlight, Pair, Reason, Replicate, Suggestion, TrialRecord, Verdict
from nightlab.records.counting import counted

STYLES = {
    Verdict.KEEP: "green",
    Verdict.DISCARD: "",
    Verdict.CRASH: "red",
    Verdict.FAILED: "yellow",
}


def trial_table(records: Sequence[TrialRecord], hidden: int = 0) -> Table:
    """The trials of a study, a row each."""
    table = Table(box=None, padding=(0, 1), header_style="bold", expand=True)
    # Narrow terminals cut the title: what was decided is always readable.
    for name, width in (("trial", 5), ("verdict", 7), ("reason", 12)):
        table.add_column(name, no_wrap=True, min_width=width)
    for name, width in (("val_bpb", 7), ("difference", 10), ("P(better)", 9)):
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    table.add_column("title", overflow="ellipsis", no_wrap=True, ratio=1)
    if hidden:
        table.add_row("…", f"{hidden} earlier", "", "", "", "", "", style="dim")
    for record in records:
        table.add_row(
            str(record.number),
            record.verdict.value,
            record.reason_text,
            format_score(record.val_bpb),
            number(record.decision.difference_bpb, "+.4f"),
            format_chance(record.decision.probability_better),
            record.title,
            style=STYLES[record.verdict],
        )
    return table


def study_table(summaries: Sequence[StudySummary]) -> Table:
    """The studies of a repository, a row each."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("study", "trials", "kept", "baseline", "incumbent", "in flight"):
        table.add_column(name, justify="left" if name == "study" else "right")
    for summary in summaries:
        table.add_row(
            summary.study,
            str(summary.trials),
            str(summary.verdicts[Verdict.KEEP]),
            number(summary.baseline_bpb),
            number(summary.incumbent_bpb),
            ", ".join(map(str, summary.inflight)) or NOTHING,
        )
    return table


def pair_table(pairs: Sequence[Pair]) -> Table:
    """What a verdict rests on: a row for each seed that both codes were trained on."""
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in ("pair", "seed", "candidate", "incumbent", "difference"):
        table.add_column(name, justify="right")
    table.add_column("")
    for place, pair in enumerate(pairs, start=1):
        table.add_row(
            str(place),
            str(pair.seed),
            number(pair.candidate_bpb),
            number(pair.incumbent_bpb),
            number(pair.difference_bpb, "+.4f"),
            "better" if pair.difference_bpb < 0 else "worse",
        )
    return table


def print_study(console: Terminal, study: str, records: Sequence[TrialRecord]) -> None:
    """The trials of a study, and how many of the kept changes are likely to help nothing."""
    console.print(trial_table(records))
    for said in (false_keeps_sentence(study, records), waiting_sentence(study, records)):
        if said:
            console.say(said.replace("`", ""))


def print_mark(console: Terminal, mark: InFlight, diff: str) -> None:
    """What is known of a trial that has no record yet."""
    idea = mark.proposal
    console.print(f"Trial {mark.number} of {mark.study}", end=": ", style="bold")
    console.print("no idea yet" if idea is None else idea.title)
    state = "its idea is in hand, and it has not begun" if not mark.attempts else "in flight"
    console.print(f"{state}, no verdict yet", style="yellow")
    if idea is not None:
        if idea.hypothesis:
            console.print(f"Hypothesis: {idea.hypothesis}")
        said = " ".join(filter(None, (idea.proposer, idea.model)))
        console.print(f"proposer {said}", style="dim")
    trained = len(mark.replicates) + len(mark.incumbent_replicates)
    console.print(f"{counted(trained, 'training is', 'trainings are')} done", style="dim")
    if diff.strip():
        console.print(code(diff, "diff"))


def print_trial(
    console: Terminal,
    record: TrialRecord,
    diff: str,
    ideas: Sequence[Suggestion] = (),
    answers: Sequence[str] = (),
) -> None:
    """Everything that a person asks of one trial.

    Args:
        console: the terminal.
        record: of the trial.
        diff: of its candidate.
        ideas: a study's suggestions.
        answers: names in git of what a model or an agent said.
    """
    style = STYLES[record.verdict] or "default"
    console.print(f"Trial {record.number} of {record.study}", end=": ", style="bold")
    console.print(record.title)
    console.print(f"{record.verdict.value} ({record.reason_text})", style=style)
    console.print(record.decision.sentence)
    if record.decision.pairs:
        console.print(pair_table(record.decision.pairs))
    for line in verdict_lines(record):
        console.print(line)
    if record.hypothesis:
        console.print(f"Hypothesis: {record.hypothesis}")
    if asked := _asked(record):
        console.print(asked, style="dim")
    texts = {idea.name: idea.text for idea in ideas}
    for name in record.suggestions:
        console.print(f"shown the suggestion: {texts.get(name, name)}", style="dim")
    if record.preflight is not None:
        times = "once" if record.repairs == 1 else f"{record.repairs} times"
        mended = f", mended {times}" if record.repairs else ""
        outcome = record.preflight.failure.value if record.preflight.failure else "passed"
        said = f"dry run: {outcome} in {record.preflight.seconds:.1f} s{mended}"
        console.print(said, style="dim")
    if record.replicates:
        console.print(_replicate_table(record))
    for replicate in record.replicates:
        if said := audit_sentence(replicate.evaluation):
            console.print(f"seed {replicate.seed}: {said}", style="dim")
    for replicate in (*record.replicates, *record.incumbent_replicates):
        if others := replicate.training.other_work:
            console.print(f"seed {replicate.seed}: {others.sentence}.", style="yellow")
    console.print(_facts(record), style="dim")
    if diff.strip():
        console.print(code(diff, "diff"))
    if record.log_tail:
        console.print("The last lines of its output:", style="bold")
        console.print(record.log_tail)
    if answers:
        said = f"All that its proposer said: git show {answers[-1]}"
        console.say(said, "dim")


def number(value: float | None, form: str = ".4f") -> str:
    """A number as text; a missing one is a dash, never 0."""
    return NOTHING if value is None else format(value, form)


def _asked(record: TrialRecord) -> str:
    """What the proposer was asked for and expected, and how the idea came about."""
    parts = []
    if record.expected_bpb is not None:
        found = number(record.decision.difference_bpb, "+.4f")
        # A training that was stopped has no score, only what was to be expected of it.
        word = "foreseen when it was stopped" if record.reason is Reason.PRUNED else "found"
        parts.append(f"expected {record.expected_bpb:+.4f} bpb, {word} {found}")
    if record.mode is not None:
        parts.append(f"asked to {record.mode.value}")
    if record.rescue_of is not None:
        parts.append(f"the edit of trial {record.rescue_of} with other knobs")
    if record.program_version:
        parts.append(f"program.md {record.program_version}")
    if record.note:
        parts.append(record.note)
    return "; ".join(parts)


def _replicate_table(record: TrialRecord) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    names = (
        "trained",
        "seed",
        "val_bpb",
        "seconds",
        "steps",
        "tokens/s",
        "memory MB",
        "outcome",
    )
    for name in names:
        table.add_column(name, justify="left" if name in ("trained", "outcome") else "right")
    trained = [("candidate", each) for each in record.replicates]
    trained += [("incumbent", each) for each in record.incumbent_replicates]
    for whose, replicate in trained:
        training, evaluation = replicate.training, replicate.evaluation
        table.add_row(
            whose,
            str(replicate.seed),
            format_score(replicate.val_bpb, evaluation.standard_error if evaluation else None),
            number(training.training_seconds, ".1f"),
            number(training.num_steps, "d"),
            number(training.tokens_per_second, ",.0f"),
            number(training.peak_memory_mb, ",.0f"),
            _outcome(replicate),
        )
    return table


def _outcome(replicate: Replicate) -> str:
    return replicate.failure.value if replicate.failure is not None else "scored"


def _sandbox(record: TrialRecord) -> str:
    confinement = record.confinement
    lacking = f" without {'; '.join(confinement.missing)}" if confinement.missing else ""
    return f"sandbox {confinement.label}{lacking}"


def _cost(record: TrialRecord) -> str:
    """What a model cost, as far as it was reported."""
    cost = record.cost
    dollars = NOTHING if cost.cost_usd is None else f"${cost.cost_usd:.4f}"
    tokens = [each for each in (cost.prompt_tokens, cost.completion_tokens) if each is not None]
    return f"model cost {dollars}" + (f" ({sum(tokens):,} tokens)" if tokens else "")


def _facts(record: TrialRecord) -> str:
    steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in record.step_seconds.items())
    retried = "" if record.retry_of is None else f"\nretry of trial {record.retry_of}"
    return (
        f"commit {record.commit[:12]} on {record.parent[:12]}, "
        f"+{record.lines_added} −{record.lines_removed} lines\n"
        f"proposer {' '.join(filter(None, (record.proposer, record.model)))}, {_cost(record)}\n"
        f"budget {budget_text(f'{record.budget_seconds:g} s', record.budget_tokens)} a replicate\n"
        f"{record.device}, {_sandbox(record)}, corpus {record.corpus} "
        f"{record.corpus_fingerprint[:12]}, engine {record.engine_version}\n"
        f"{steps}{retried}"
    )

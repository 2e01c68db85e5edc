"""When a candidate's trainings and evaluations make a crash of its trial."""

from collections.abc import Sequence

from nightlab.records import Decision, Reason, Replicate, Verdict

EXCUSED = (Reason.OOM, Reason.TIMEOUT, Reason.STARTUP_TIMEOUT)
"""Failures that another job on the machine may bring about: one, of a candidate that was scored."""


FAILURES_IN_A_ROW = 2
"""Failed trainings of a code that trained before, one after the other, which are no accident."""


def broken_down(replicates: Sequence[Replicate]) -> Replicate | None:
    """The latest training of a code that does not train any more; None where it may."""
    latest = replicates[-FAILURES_IN_A_ROW:]
    failed = [each for each in latest if each.failure is not None]
    return failed[-1] if len(failed) == FAILURES_IN_A_ROW else None


def first_crash(replicates: Sequence[Replicate]) -> Decision | None:
    """The crash that a failed replicate, or an ignored seed, makes of its trial; or None."""
    # Whichever came first: two that are trained side by side have no order.
    is_scored, is_excused = any(each.failure is None for each in replicates), False
    for replicate in replicates:
        reason = replicate.failure
        if reason in (None, Reason.PRUNED):
            continue
        if is_scored and not is_excused and reason in EXCUSED:
            is_excused = True
        else:
            sentence = replicate.failure_message
            return Decision(verdict=Verdict.CRASH, reason=reason, sentence=sentence)
    if _ignores_seed(replicates):
        return Decision(
            verdict=Verdict.CRASH,
            reason=Reason.CONTRACT,
            sentence="Trainings with different seeds gave identical losses, so the seed is "
            "ignored: the trainer must draw its randomness from run.seed.",
        )
    return None


def _ignores_seed(replicates: Sequence[Replicate]) -> bool:
    """Whether two seeds gave the very same losses, in training and in evaluation.

    Its claims, since the score itself varies with the audit's draw of positions.
    """
    seen: dict[tuple[float, float], int] = {}
    for replicate in replicates:
        evaluation, loss = replicate.evaluation, replicate.training.final_loss
        claimed = evaluation.claimed_bpb if evaluation is not None else None
        if loss is None or claimed is None:
            continue
        if seen.setdefault((loss, claimed), replicate.seed) != replicate.seed:
            return True
    return False

"""Whether the scores of several studies compare, and what a reader should know where they do."""

from collections.abc import Sequence

from nightlab.errors import UsageError
from nightlab.records.counting import counted
from nightlab.report.comparison import MEASURED_BY, Arm


def check_comparable(arms: Sequence[Arm]) -> None:
    """Refuse studies whose scores do not compare.

    Raises:
        UsageError: two of them were measured in different ways.
    """
    different = differences(arms)
    if different:
        raise UsageError(
            f"The scores of these studies cannot be compared: {different[0]}. Leave one out, or "
            "--force shows them side by side all the same, and says so."
        )


def differences(arms: Sequence[Arm]) -> list[str]:
    """What makes the scores of studies incomparable, a clause each; empty where they compare."""
    found = []
    first = arms[0]
    for arm in arms[1:]:
        if arm.corpus_fingerprint != first.corpus_fingerprint:
            found.append(
                f"{first.name} has the corpus {first.corpus_fingerprint[:12] or 'unknown'} and "
                f"{arm.name} has {arm.corpus_fingerprint[:12] or 'unknown'}"
            )
        found += [
            f"{first.name} has {name} {_plain(first.sizes[name])} and {arm.name} has "
            f"{_plain(arm.sizes[name])}"
            for name in MEASURED_BY
            if arm.sizes[name] != first.sizes[name]
        ]
    return found


def cautions(arms: Sequence[Arm]) -> list[str]:
    """What a reader should know though the scores compare, a sentence each."""
    said = []
    devices = list(dict.fromkeys(arm.device for arm in arms))
    if len(devices) > 1:
        said.append(f"They were trained on different devices: {'; '.join(devices)}.")
    if len({arm.baseline_source for arm in arms}) > 1:
        said.append("They began with different trainers: compare scores rather than gains.")
    unpriced = [f"{counted(arm.unpriced, 'trial')} of {arm.name}" for arm in arms if arm.unpriced]
    if unpriced:
        said.append(
            f"The price of a model's calls is not known for {', '.join(unpriced)}: dollars are "
            "at least what is shown."
        )
    return said


def _plain(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"

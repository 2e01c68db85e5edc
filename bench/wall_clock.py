"""Where the wall clock of a session went, from what its records say of their own steps."""

from collections import defaultdict
from dataclasses import dataclass

from nightlab.records import TrialRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class WallClock:
    """One session: its records, and its wall clock."""

    name: str
    records: tuple[TrialRecord, ...]
    wall_seconds: float

    @property
    def trainings(self) -> int:
        """Of candidates and of incumbents."""
        return sum(len(each.replicates) + len(each.incumbent_replicates) for each in self.records)

    @property
    def training_seconds(self) -> float:
        """Of all trainings, the incumbent's fresh ones among them."""
        return sum(record.step_seconds.get("train", 0.0) for record in self.records)

    @property
    def share(self) -> float:
        """Of training in the wall clock."""
        return self.training_seconds / self.wall_seconds

    def other_seconds(self) -> dict[str, float]:
        """Seconds of the session on anything but training, the longest first."""
        steps: defaultdict[str, float] = defaultdict(float)
        for record in self.records:
            for step, seconds in record.step_seconds.items():
                steps[step] += seconds
        inside = steps.pop("total")
        steps["within trials, other"] = inside - sum(steps.values())
        steps["outside trials"] = self.wall_seconds - inside
        steps.pop("train", None)
        return dict(sorted(steps.items(), key=lambda item: -item[1]))

    def print_table(self) -> None:
        """Print the share of training, then where the rest goes."""
        print(
            f"\n{self.name}: {len(self.records) - 1} trials and a baseline, "
            f"{self.trainings} trainings"
        )
        print(f"  wall clock {self.wall_seconds:.1f} s, training {self.share:.1%} of it")
        rest = (self.wall_seconds - self.training_seconds) / self.trainings
        print(
            f"  the rest is {rest:.1f} s a training: at a budget of 300 s {300 / (300 + rest):.1%}"
        )
        for step, seconds in self.other_seconds().items():
            share = seconds / self.wall_seconds
            print(f"  {step:<22} {seconds / self.trainings:8.2f} s a training {share:8.1%}")

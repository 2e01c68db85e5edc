"""What ``bench/mutants.toml`` says: where faults are planted, and which tests must notice."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What ``mutants.toml`` says."""

    packages: tuple[str, ...]
    seed: int
    size: int
    least_killed: float
    building_seconds: float
    building: tuple[str, ...]
    left_out: dict[str, str]
    tests: dict[str, list[str]]
    equivalent: dict[str, str]
    accepted: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read the file."""
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(
            packages=tuple(said["packages"]),
            seed=said["seed"],
            size=said["size"],
            least_killed=said["killed"],
            building_seconds=said["building_seconds"],
            building=tuple(said["building"]),
            left_out=said["left_out"],
            tests=said["tests"],
            equivalent=said["equivalent"],
            accepted=said["accepted"],
        )

    def modules(self) -> list[str]:
        """Every module that is drawn from."""
        found = (path for package in self.packages for path in (ROOT / package).glob("*.py"))
        return sorted({str(path.relative_to(ROOT)) for path in found} - set(self.left_out))

    def more_seconds(self, module: str) -> float:
        """What a mutant of a module takes besides the tests themselves."""
        return self.building_seconds if module in self.building else 0.0

    def tests_of(self, module: str) -> tuple[str, ...]:
        """The test files that must notice a fault in a module, in the order they are run."""
        package, name = Path(module).parent.name, Path(module).name
        own = f"{package}/test_{name}"
        named = [own] if (ROOT / "tests" / own).is_file() else []
        return tuple(f"tests/{path}" for path in (*named, *self.tests.get(module, ())))

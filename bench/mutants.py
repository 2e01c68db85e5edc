"""Would the tests notice? Plants small faults, one at a time, and runs the tests that must fail.

    make mutants                                   # the sample: half an hour on two cores
    make mutants WORDS='--size 20 --seed 7'        # another one
    make mutants WORDS='--only nightlab/sandbox/log.py --size 1000'

Every mutant runs by itself (``.ci/enclosure``): first as an ordinary user, and where no
test of an ordinary user's notices, as root too, if it is root that asks. What it lacks for a fault
in the sandbox is no matter then: it sees a copy of this checkout and no other process.
A test that fails or does not end in time has noticed. What is drawn, by which files it is tested
and what may survive stands in ``mutants.toml``.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from mutant_plan import ROOT, Plan
from mutant_sites import Mutant, draw

ENCLOSURE = ROOT / ".ci" / "enclosure"
ORDINARY, OWNER = "user", "root"
NOT_ENCLOSED = (
    "tests/sandbox/test_probe.py::test_where_nothing_holds_every_escape_is_seen_to_get_through",
    "tests/sandbox/test_page_cache.py::test_pages_that_were_dropped_are_read_again",
)
"""Nobody gains privileges in an enclosure, and files in memory have no pages to drop."""
ORDINARY_ID = 1234
"""Who an ordinary user is where root runs this."""
# A test that would fail may take longer than one that passes, and the machine may be at other work.
SLACK, MORE_SECONDS = 3.0, 30.0
BROKEN = re.compile(r"^\d+ (failed|error)|, \d+ (failed|error)|^no tests ran|!!! .*stopping", re.M)
KILLED, SLOW, SURVIVED = "killed", "timeout", "survived"


@dataclass(slots=True, kw_only=True)
class Enclosed:
    """Where tests run: a copy of the tree, and a cache that the first ones have filled."""

    folder: Path
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    """How long a test file takes without a fault, for an account."""
    numbers: Iterator[int] = field(default_factory=count)
    measuring: defaultdict[tuple[str, str], threading.Lock] = field(
        default_factory=lambda: defaultdict(threading.Lock)
    )

    def run(self, account: str, limit_seconds: float | None, *words: str) -> tuple[str, str]:
        """Run pytest in there: how it ended, and what it printed."""
        command = [str(ENCLOSURE), "--as", account, "--tree", str(self.folder / "tree")]
        tests = ["pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]
        tests += [part for each in NOT_ENCLOSED for part in ("--deselect", each)]
        place = next(at for at, word in enumerate([*words, "tests/"]) if word.startswith("tests/"))
        process = subprocess.Popen(
            [*command, *words[:place], *tests, *words[place:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        try:
            said, _ = process.communicate(timeout=limit_seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # all that is in there ends with it
            process.communicate()
            return SLOW, ""
        if process.returncode == 0:
            return SURVIVED, said
        if not BROKEN.search(said):
            sys.exit(f"The tests could not be run: {' '.join(words)}\n{said[-3000:]}")
        return KILLED, said

    def measured(self, account: str, test: str) -> float:
        """The seconds of a test file without a fault, for which it must pass."""
        with self.measuring[account, test]:
            if (account, test) not in self.seconds:
                began = time.monotonic()
                end, said = self.run(account, None, "--cache", str(self.cache(account)), test)
                if end != SURVIVED:
                    sys.exit(f"{test} fails without any fault, as {account}:\n{said[-3000:]}")
                self.seconds[account, test] = time.monotonic() - began
            return self.seconds[account, test]

    def prepare(self, account: str) -> None:
        """Fill a cache with what all tests would prepare, each for itself."""
        words = ("--cache", str(self.cache(account)), "--keep", "tests/sandbox/test_mounts.py")
        end, said = self.run(account, None, *words)
        if end != SURVIVED:
            sys.exit(f"No sandbox starts as {account}:\n{said[-3000:]}")

    def cache(self, account: str) -> Path:
        """An account's cache."""
        return self.folder / f"cache-{account}"

    def attempt(
        self, account: str, mutant: Mutant, tests: tuple[str, ...], more_seconds: float
    ) -> str:
        """Run the tests with a fault in place."""
        changed = self.folder / f"mutant-{next(self.numbers)}.py"
        changed.write_text(mutant.source, encoding="utf-8")
        usual = sum(self.measured(account, test) for test in tests)
        over = f"{changed}={mutant.path}"
        end, _ = self.run(
            account,
            usual * SLACK + MORE_SECONDS + more_seconds,
            *("--cache", str(self.cache(account)), "--over", over, *tests),
        )
        return end


@contextmanager
def enclosed() -> Iterator[Enclosed]:
    """A copy of this checkout, compiled, with caches that are still empty."""
    with tempfile.TemporaryDirectory(prefix="nightlab-mutants-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        for path in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / path).is_file():
                target = folder / "tree" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, target)
        compiled = ["-m", "compileall", "-q", "nightlab", "flows", "tasks", "tests", "trainer"]
        subprocess.run([sys.executable, *compiled], cwd=folder / "tree", check=True)
        for account in (ORDINARY, OWNER):
            (folder / f"cache-{account}").mkdir()
        if os.geteuid() == 0:
            for path in ("tree", f"cache-{ORDINARY}"):
                owner = f"{ORDINARY_ID}:{ORDINARY_ID}"
                subprocess.run(["chown", "-R", owner, str(folder / path)], check=True)
        yield Enclosed(folder=folder)


def try_all(plan: Plan, drawn: list[Mutant], jobs: int) -> dict[str, str]:
    """What became of each mutant, by its key."""
    accounts = (ORDINARY, OWNER) if os.geteuid() == 0 else (ORDINARY,)
    ends: dict[str, str] = {}
    lock = threading.Lock()
    with enclosed() as place, ThreadPoolExecutor(jobs) as pool:
        for account in accounts:
            place.prepare(account)

        def attempt(mutant: Mutant) -> None:
            tests, end = plan.tests_of(mutant.path), SURVIVED
            for account in accounts:
                if end == SURVIVED and tests:
                    more = plan.more_seconds(mutant.path)
                    end = place.attempt(account, mutant, tests, more)
            with lock:
                ends[mutant.key] = end
                print(f"{len(ends):4} {end:8} {mutant.kind:24} {mutant.key[:150]}", flush=True)

        list(pool.map(attempt, drawn))
    return ends


def tell(plan: Plan, drawn: list[Mutant], ends: dict[str, str]) -> bool:
    """Print the table and the survivors; whether enough were killed."""
    table: dict[str, Counter[str]] = {package: Counter() for package in (*plan.packages, "all")}
    survivors: list[Mutant] = []
    for mutant in drawn:
        end = ends[mutant.key]
        if end == SURVIVED:
            survivors.append(mutant)
            end = "equivalent" if mutant.key in plan.equivalent else SURVIVED
        for row in (str(Path(mutant.path).parent), "all"):
            table[row][end] += 1
    print(f"\n{'':22}{'mutants':>9}{'killed':>9}{'timeout':>9}{'equivalent':>12}{'survived':>10}")
    for row, ended in table.items():
        numbers = (ended.total(), ended[KILLED], ended[SLOW], ended["equivalent"], ended[SURVIVED])
        total, killed, slow, same, survived = numbers
        print(f"{row:22}{total:9}{killed:9}{slow:9}{same:12}{survived:10}")
    for mutant in survivors:
        reason = plan.equivalent.get(mutant.key) or plan.accepted.get(mutant.key)
        print(f"\nsurvived: {mutant.key}\n{mutant.diff}\nreason: {reason or 'none yet'}")
    counted = table["all"].total() - table["all"]["equivalent"]
    share = 1 - table["all"][SURVIVED] / max(counted, 1)
    print(f"\n{share:.1%} of {counted} were noticed; {plan.least_killed:.0%} are asked for.")
    return share >= plan.least_killed


def main() -> None:
    """Draw, try, and tell."""
    plan = Plan.read(Path(__file__).with_name("mutants.toml"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=plan.seed)
    parser.add_argument("--size", type=int, default=plan.size, help="how many")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--only", nargs="*", default=plan.modules(), help="modules to draw from")
    parser.add_argument("--list", action="store_true", help="only say what would be planted")
    arguments: Any = parser.parse_args()
    drawn = draw(ROOT, arguments.only, arguments.seed, arguments.size)
    if arguments.list:
        print("\n".join(mutant.key for mutant in drawn))
        return
    began = time.monotonic()
    ends = try_all(plan, drawn, arguments.jobs)
    enough = tell(plan, drawn, ends)
    print(f"{(time.monotonic() - began) / 60:.0f} minutes, seed {arguments.seed}.")
    sys.exit(not enough)


if __name__ == "__main__":
    main()

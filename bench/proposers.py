"""What each proposer finds: knobs, a model with recorded structural edits, and both (hybrid).

    .venv/bin/python bench/proposers.py --results proposers.jsonl     # about 25 minutes

The model is a recorded one: an endpoint of the OpenAI protocol on loopback that answers with the
edits in bench/structural_edits/, good ones and bad ones, shuffled anew for each repeat, and begins
again when all are asked. Everything between it and a training is the real proposers' code. All arms
search from the same start, whose knobs are wrong in three places, take turns trial by trial, and
train equally often on equally many tokens, so that other work on the machine moves no score; what
sets the model's size is no knob then, since size would be free. See bench/search.py. (Continued
after a stop, the models begin their lists again.)
"""

import argparse
import itertools
import random
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from statistics import stdev

from bare_trials import BareTrials
from model_endpoint import model_endpoint
from search import Bench, Propose, Search, draw, print_table, run_in_turn

from nightlab.models.endpoint import Endpoint
from nightlab.models.pool import ModelPool
from nightlab.proposers import KnobProposer, LlmProposer, Spending
from nightlab.proposers.arms import arm_of, gain_bpb
from nightlab.proposers.hybrid import HybridProposer
from nightlab.settings import SessionSettings

EDITS = Path(__file__).parent / "structural_edits"
NOISE_SEEDS = (8_001, 8_002, 8_003, 8_004, 8_005)
ARMS = ("knobs", "llm", "hybrid")
SIZES = ("DEPTH", "WIDTH", "HEAD_WIDTH", "FEED_FORWARD_RATIO", "VALUE_EMBEDDING_EVERY")
CAP_SECONDS = 300.0
"""Of a training that counts tokens."""


def main() -> None:
    """Run all arms in turn; print the table and how the hybrid divided its turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--results", type=Path, required=True, help="JSON lines, one a training")
    parser.add_argument("--trials", type=int, default=8, help="of each arm and repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget-tokens", type=int, default=65_536)
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        trials = BareTrials(Path(folder), CAP_SECONDS, arguments.budget_tokens)
        bench = Bench(trials, arguments.results)
        noise = measure_noise(bench)
        searches = []
        for repeat, arm in itertools.product(range(arguments.repeats), ARMS):
            address = stack.enter_context(model_endpoint(recorded_answers(repeat)))
            propose = proposer(arm, address)
            searches.append(Search(arm, repeat, propose, bench, noise_bpb=noise, fixed=SIZES))
        run_in_turn(searches, arguments.trials)
    print_table(searches)
    print_turns([search for search in searches if search.arm == "hybrid"])
    if arguments.picture is not None:
        draw(searches, arguments.picture, "What each proposer finds")


def recorded_answers(seed: int) -> "itertools.cycle[str]":
    """The recorded edits in an order of their own, again and again."""
    answers = [path.read_text(encoding="utf-8") for path in sorted(EDITS.glob("*.md"))]
    random.Random(seed).shuffle(answers)
    return itertools.cycle(answers)


def proposer(arm: str, address: str) -> Propose:
    """An arm's proposer, as a session would have it."""
    endpoint = Endpoint(model="openai/recorded", api_base=address)
    model = LlmProposer(ModelPool((endpoint,), Spending(SessionSettings())))
    if arm == "llm":
        return model.propose
    if arm == "knobs":
        return KnobProposer().propose
    return HybridProposer(structure=model, tuner=KnobProposer()).propose


def measure_noise(bench: Bench) -> float:
    """Standard deviation of the start's score between seeds, in bits per byte."""
    start = Search("start", 0, KnobProposer().propose, bench, fixed=SIZES).start()
    found = [bench.measure(f"start/{seed}", start, seed) for seed in NOISE_SEEDS]
    return float(stdev(each["val_bpb"] for each in found))


def print_turns(searches: list[Search]) -> None:
    """How the hybrid divided its trials, and what each arm gained, over all repeats."""
    records = [record for search in searches for record in search.records[1:]]
    for arm, count in Counter(map(arm_of, records)).most_common():
        gained = sum(gain_bpb(record) for record in records if arm_of(record) is arm)
        sys.stdout.write(f"\nhybrid, {arm}: {count} turns, {gained:.4f} bpb gained")
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

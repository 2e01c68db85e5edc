from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nightlab.corpus.documents import collect, stay_silent
from nightlab.corpus.splits import SPLITS, divide
from nightlab.errors import CorpusError

Text = Callable[[int, int], str]


def test_every_document_goes_to_one_split_and_quotas_are_met(tmp_path: Path, text: Text) -> None:
    documents = collect([text(seed, 10) for seed in range(80)], tmp_path / "text", 10**7)
    division = divide(documents, 5_000, stay_silent)
    dealt = np.concatenate([division.split(name) for name in SPLITS])
    assert sorted(dealt.tolist()) == list(range(80))
    for name in ("val", "holdout"):
        size = documents.sizes[division.split(name)].sum()
        assert 5_000 <= size < 5_000 + documents.sizes.max()


def test_the_split_does_not_depend_on_the_order_of_the_source(tmp_path: Path, text: Text) -> None:
    texts = [text(seed, 10) for seed in range(60)]
    held = []
    for order in (texts, texts[::-1]):
        documents = collect(order, tmp_path / f"text{len(held)}", 10**7)
        division = divide(documents, 4_000, stay_silent)
        held.append([documents.read(number) for number in division.val])
    assert held[0] == held[1]


def test_train_and_holdout_lose_what_resembles_an_evaluation_split(
    tmp_path: Path, text: Text
) -> None:
    # Each text stands in eight variants, which hashing deals out over all three splits.
    texts = [f"{text(seed, 20)} variant {v}" for seed in range(20) for v in range(8)]
    documents = collect(texts, tmp_path / "text", 10**7)
    division = divide(documents, 16_000, stay_silent)
    families = {name: {number // 8 for number in division.split(name)} for name in SPLITS}
    assert division.dropped_train > 0
    assert division.dropped_holdout > 0
    assert not families["train"] & (families["val"] | families["holdout"])
    assert not families["val"] & families["holdout"]
    assert len(division.train) + len(division.val) + len(division.holdout) + (
        division.dropped_train + division.dropped_holdout
    ) == len(documents)


def test_too_little_text_is_an_error_with_both_sizes(tmp_path: Path, text: Text) -> None:
    documents = collect([text(1, 10)], tmp_path / "text", 10**7)
    with pytest.raises(CorpusError, match=r"at least 0\.40 MB .* found 0\.00 MB: give more text"):
        divide(documents, 100_000, stay_silent)


def test_a_cap_that_is_too_low_is_named(tmp_path: Path, text: Text) -> None:
    documents = collect([text(seed, 10) for seed in range(40)], tmp_path / "text", 10_000)
    with pytest.raises(CorpusError, match=r"cap .* is reached, so take a smaller --preset"):
        divide(documents, 100_000, stay_silent)


def test_text_of_copies_only_leaves_no_train(tmp_path: Path, text: Text) -> None:
    documents = collect([f"{text(1, 30)} copy {n}" for n in range(40)], tmp_path / "text", 10**7)
    with pytest.raises(CorpusError, match="fewer copies"):
        divide(documents, 8_000, stay_silent)

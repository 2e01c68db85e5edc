"""Edits: what is read from answers, what applies, and what is refused with which words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.proposers.edits import apply_edits, edit_between, parse_edits
from nightlab.records import Edit
from tests.proposers.trainer_sample import SOURCE
from tests.scripted_endpoint import answer_with_edit

# Few different lines, so that repeated ones, blank ones and near misses are common.
LINE = st.sampled_from(["a = 1", "    a = 1", "b = 22", "", "x", "# é …", "aa = 11"]) | st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8
)
TEXT = st.lists(LINE, max_size=12).map(lambda lines: "".join(line + "\n" for line in lines))
MARKER = st.sampled_from(
    ["<<<<<<< SEARCH", "=======", ">>>>>>> REPLACE", "```python", "```", "train.py", "runtime.py"]
)


def parse_one(answer: str) -> Edit:
    parsed = parse_edits(answer)
    assert parsed.error is None
    (edit,) = parsed.edits
    return edit


def test_a_plain_block_is_read_as_whole_lines() -> None:
    edit = parse_one("Some talk.\n" + answer_with_edit("a = 1\nb = 2", "a = 3\n"))
    assert edit == Edit(search="a = 1\nb = 2\n", replace="a = 3\n")


@pytest.mark.parametrize(
    "answer",
    [
        "```python\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```",
        "<<<<<<< SEARCH   \na\n=======  \nb\n>>>>>>> REPLACE \n",
        "<<<<<<< SEARCH\r\na\r\n=======\r\nb\r\n>>>>>>> REPLACE\r\n",
        "<<<<<<< SEARCH\n```python\na\n```\n=======\n```\nb\n```\n>>>>>>> REPLACE",
        "trainer/train.py\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
        "**`train.py`**:\n```\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```",
        "<<<<<< SEARCH train.py\na\n======\nb\n>>>>>> REPLACE",
        "trainer\\train.py\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
        "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE <|im_end|></s>",
    ],
)
def test_habits_of_models_are_tolerated(answer: str) -> None:
    assert parse_one(answer) == Edit(search="a\n", replace="b\n")


@pytest.mark.parametrize("line", ["====", "=" * 10, "a =======", "==== a", "<<<< SEARCH", ">>>>"])
def test_what_is_no_marker_is_text_inside_a_block(line: str) -> None:
    edit = parse_one(f"<<<<<<< SEARCH\na\n{line}\n=======\n{line}\nb\n>>>>>>> REPLACE")
    assert edit == Edit(search=f"a\n{line}\n", replace=f"{line}\nb\n")


@pytest.mark.parametrize(
    ("half", "text"),
    [
        ("```\n```\n", ""),
        ("```python\nb\n~~~\n", "b\n"),
        ("```\n", "```\n"),
        ("```\nb\n```python\n", "```\nb\n```python\n"),
        ("```\nb\n", "```\nb\n"),
        ("b\n```\n", "b\n```\n"),
    ],
)
def test_only_a_whole_fence_around_a_half_is_left_out(half: str, text: str) -> None:
    edit = parse_one(f"<<<<<<< SEARCH\na\n=======\n{half}>>>>>>> REPLACE")
    assert edit == Edit(search="a\n", replace=text)


def test_an_empty_replace_deletes_lines_and_a_blank_one_does_not() -> None:
    deleting = parse_one("<<<<<<< SEARCH\nb\n=======\n>>>>>>> REPLACE")
    blanking = parse_one("<<<<<<< SEARCH\nb\n=======\n\n>>>>>>> REPLACE")
    assert apply_edits("a\nb\nc\n", [deleting]).source == "a\nc\n"
    assert apply_edits("a\nb\nc\n", [blanking]).source == "a\n\nc\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "no SEARCH/REPLACE block"),
        ("I would rather talk about it.", "no SEARCH/REPLACE block"),
        ("<<<<<<< SEARCH\na\n=======\nb\n", "cut off"),
        ("<<<<<<< SEARCH\na\n>>>>>>> REPLACE", "no line '======='"),
        ("<<<<<<< SEARCH\na\n=======\nb\n=======\nc\n>>>>>>> REPLACE", "two lines of '======='"),
        (answer_with_edit("a", "b") + "<<<<<<< SEARCH\n<<<<<<< SEARCH\n", "Block 2 is not closed"),
        ("trainer/runtime.py\n" + answer_with_edit("a", "b")[70:], "no SEARCH/REPLACE block"),
        (
            "trainer/runtime.py\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE",
            "names the file trainer/runtime.py; only trainer/train.py",
        ),
        (
            "`score.py`:\n\n```python\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n```",
            "Block 1 names the file score.py",
        ),
        (
            "<<<<<<< SEARCH ../../etc/train.py\na\n=======\nb\n>>>>>>> REPLACE",
            "names the file ../../etc/train.py",
        ),
    ],
)
def test_malformed_answers_are_refused_with_a_reason(answer: str, words: str) -> None:
    parsed = parse_edits(answer)
    assert parsed.edits == ()
    assert parsed.error is not None
    assert words in parsed.error


def test_whole_lines_go_before_parts_of_lines() -> None:
    source = "    return x\n        return x\n"
    applied = apply_edits(source, [Edit(search="    return x\n", replace="    return y\n")])
    assert applied.source == "    return y\n        return x\n"


def test_a_part_of_a_line_matches_where_it_stands_alone() -> None:
    applied = apply_edits(SOURCE, [Edit(search="DEPTH = 4\n", replace="DEPTH = 6\n")])
    assert "DEPTH = 6  # 2..12; blocks\n" in applied.source


@pytest.mark.parametrize(
    "search", ["LEARNING_RATE = 0.08\n", "DECAY = 0\n", "DECAY = 0.\n", "5  # 0.0\n", "WIDTH = 6\n"]
)
def test_names_and_numbers_are_not_cut_through(search: str) -> None:
    applied = apply_edits(SOURCE, [Edit(search=search, replace="x = 1\n")])
    assert applied.source == SOURCE
    assert applied.error is not None
    assert applied.error.startswith("Block 1 of 1 does not match")


def test_a_miss_shows_the_closest_lines_with_their_numbers() -> None:
    missed = Edit(search="    run.report(step, loss)\n    run.save(model)\n", replace="")
    error = apply_edits(SOURCE, [missed]).error
    assert error is not None
    line = SOURCE.splitlines().index("    run.save(model)") + 1
    assert f"{line}:     run.save(model)" in error


def test_several_matches_are_refused_with_their_lines() -> None:
    applied = apply_edits("a\nb\na\n", [Edit(search="a\n", replace="c\n")])
    assert applied.error is not None
    assert "matches at 2 places of trainer/train.py (lines 1, 3)" in applied.error


def test_places_that_overlap_are_several() -> None:
    applied = apply_edits("a\na\na\n", [Edit(search="a\na\n", replace="c\n")])
    assert applied.error is not None
    assert "at 2 places of trainer/train.py (lines 1, 2)" in applied.error


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([], "no edit"),
        ([Edit(search=" \n", replace="x")], "empty SEARCH"),
        ([Edit(search="a\n", replace="a\n")], "changes nothing"),
        ([Edit(search="a\n", replace="z\n"), Edit(search="z\n", replace="a\n")], "together"),
        ([Edit(search="a\n", replace="z\n"), Edit(search="a\n", replace="y\n")], "Block 2 of 2"),
    ],
)
def test_edits_apply_all_or_none(edits: list[Edit], words: str) -> None:
    applied = apply_edits("a\nb\n", edits)
    assert applied.source == "a\nb\n"
    assert applied.error is not None
    assert words in applied.error


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT)
def test_edit_between_leads_from_any_source_to_any_other(old: str, new: str) -> None:
    if not old.strip():
        with pytest.raises(ValueError, match="blank"):
            edit_between(old, new)
        return
    edits = edit_between(old, new)
    assert bool(edits) == (old != new)
    if edits:
        applied = apply_edits(old, edits)
        assert applied.error is None
        assert applied.source == new


def test_an_edit_may_change_no_more_than_white_space() -> None:
    indented = apply_edits("a\nb\n", [Edit(search="b\n", replace="    b\n")])
    assert (indented.error, indented.source) == (None, "a\n    b\n")


def test_a_last_line_without_an_end_is_a_line() -> None:
    applied = apply_edits("a\nb", [Edit(search="b\n", replace="c\n")])
    assert (applied.error, applied.source) == (None, "a\nc\n")
    unchanged = apply_edits("a\nb", [Edit(search="x\n", replace="c\n")])
    assert unchanged.source == "a\nb"


def test_edit_between_is_small() -> None:
    new = SOURCE.replace("DEPTH = 4", "DEPTH = 5").replace("WIDTH = 64", "WIDTH = 96")
    edits = edit_between(SOURCE, new)
    assert sum(edit.search.count("\n") for edit in edits) == 2


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT, st.integers(0, 12), st.integers(1, 4))
def test_what_is_applied_is_what_the_block_says(
    source: str, replace: str, start: int, count: int
) -> None:
    lines = source.splitlines(keepends=True)
    search = "".join(lines[start : start + count])
    if not search.strip():
        return
    edit = parse_one(answer_with_edit(search, replace))
    applied = apply_edits(source, [edit])
    if applied.error is None:
        before = "".join(lines[:start])
        assert applied.source == before + replace + source[len(before) + len(search) :]
    else:
        assert applied.source == source
        assert "places" in applied.error or "nothing" in applied.error


@settings(max_examples=400, deadline=None)
@given(st.lists(MARKER | LINE, max_size=20).map("\n".join))
def test_no_answer_breaks_the_parser_or_the_applier(answer: str) -> None:
    parsed = parse_edits(answer)
    assert (parsed.error is None) == bool(parsed.edits)
    if parsed.edits:
        applied = apply_edits(SOURCE, parsed.edits)
        assert (applied.error is None) == (applied.source != SOURCE)

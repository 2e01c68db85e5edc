"""Ten thousand generated answers: no crash, nothing but train.py, just what the blocks say."""

import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nightlab.proposers.edits import apply_edits, edit_between, parse_edits
from nightlab.proposers.llm.answer import read_answer
from nightlab.records import Edit
from tests.proposers.trainer_sample import SOURCE

LINES = SOURCE.splitlines(keepends=True)


def many(count: int) -> settings:
    """So many examples, the same ones each time, on machines of any speed."""
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


odd_text = st.text(
    alphabet=st.sampled_from(
        [*"ab =#<>`~\t\"'\\", "\r", "\n", "\0", "\x0c", "\x85", "\u2028", "é", "\ud800"]
    ),
    max_size=40,
)
expectations = st.builds(
    "EXPECTED:{}{}{}{}".format,
    st.sampled_from(["", " ", "\u00a0", "about "]),
    st.sampled_from(["", "+", "-", "\u2212"]),
    st.sampled_from(["", " ", "\t", "\u00a0", "\u202f"]),
    st.sampled_from(["0.01", ".5", "1e999", "1e-999", "9" * 5_000, "nan", "a lot", ""]),
)
prose = st.one_of(
    odd_text,
    st.sampled_from(["TITLE: Deeper", "HYPOTHESIS: It helps.", "Here:", ""]),
    expectations,
)
files = st.sampled_from(["trainer/score.py", "../x.py", "train.py", "trainer/train.py", "a\\b.py"])


@st.composite
def source_slices(draw: st.DrawFn) -> str:
    """Whole lines of the source."""
    start = draw(st.integers(0, len(LINES) - 1))
    return "".join(LINES[start : start + draw(st.integers(1, 4))])


@st.composite
def blocks(draw: st.DrawFn, named: bool = True) -> str:
    """A block, well formed or not, perhaps with a file's name before it."""
    search = draw(st.one_of(source_slices(), odd_text.map(lambda text: text + "\n")))
    replace = draw(st.one_of(source_slices(), odd_text.map(lambda text: text + "\n"), st.just("")))
    if draw(st.integers(0, 9)) == 0:
        replace += draw(st.sampled_from(["=======\n", "<<<<<<< SEARCH\n", ">>>>>>> REPLACE\n"]))
    parts = ["<<<<<<< SEARCH\n", search, "=======\n", replace, ">>>>>>> REPLACE\n"]
    if draw(st.integers(0, 9)) == 0:
        del parts[draw(st.integers(0, 4))]
    if named and draw(st.integers(0, 9)) == 0:
        parts.insert(0, draw(files) + "\n")
    text = "".join(parts)
    if draw(st.integers(0, 4)) == 0:
        text = f"```python\n{text}```\n"
    return text.replace("\n", "\r\n") if draw(st.integers(0, 9)) == 0 else text


answers = st.lists(st.one_of(prose.map(lambda text: text + "\n"), blocks()), max_size=5).map(
    "".join
)


@many(4_000)
@given(answers)
def test_any_answer_is_read_and_ends_as_a_source_or_a_sentence(answer: str) -> None:
    draft = read_answer(answer, "stop", SOURCE)
    assert (draft.error is None) == bool(draft.source)
    assert draft.title
    assert "\n" not in draft.title + draft.hypothesis
    if draft.error is None:
        assert draft.source != SOURCE


def reference(source: str, edits: tuple[Edit, ...]) -> str | None:
    """The source with exact edits of whole lines, written another way; None where one is not."""
    for edit in edits:
        lines = source.splitlines(keepends=True)
        want = edit.search.splitlines(keepends=True)
        places = [
            at for at in range(len(lines) - len(want) + 1) if lines[at : at + len(want)] == want
        ]
        if len(places) != 1 or not want:
            return None
        (at,) = places
        source = "".join([*lines[:at], edit.replace, *lines[at + len(want) :]])
    return source


@many(3_000)
@given(st.lists(st.tuples(source_slices(), source_slices()), min_size=1, max_size=3))
def test_what_is_applied_is_what_the_blocks_say(pairs: list[tuple[str, str]]) -> None:
    written = "".join(
        f"<<<<<<< SEARCH\n{search}=======\n{replace}>>>>>>> REPLACE\n" for search, replace in pairs
    )
    parsed = parse_edits(f"TITLE: x\n\n{written}")
    assert parsed.edits == tuple(Edit(search=search, replace=replace) for search, replace in pairs)
    outcome = apply_edits(SOURCE, parsed.edits)
    told = reference(SOURCE, parsed.edits)
    if outcome.error is not None:
        assert outcome.source == SOURCE
        assert told is None or told == SOURCE or any(one == other for one, other in pairs)
    elif not outcome.tolerated and told is not None:
        assert outcome.source == told


@many(1_000)
@given(blocks(named=False), files)
def test_a_block_for_another_file_changes_nothing(block: str, name: str) -> None:
    parsed = parse_edits(f"{name}\n{block}")
    if name not in ("train.py", "trainer/train.py"):
        assert parsed.edits == ()
        assert parsed.error is not None


code = st.text(alphabet=st.sampled_from([*string.ascii_lowercase[:3], " ", "\n", "\n", "\t"]))


@many(2_000)
@given(code.filter(str.strip), code)
def test_edits_between_two_sources_lead_from_one_to_the_other(old: str, new: str) -> None:
    def ended(text: str) -> str:
        return text if not text or text.endswith("\n") else text + "\n"

    edits = edit_between(old, new)
    if ended(old) == ended(new):
        assert edits == ()
        return
    outcome = apply_edits(old, edits)
    assert outcome.error is None
    assert ended(outcome.source) == ended(new)
    assert outcome.tolerated == ()


def test_answers_of_a_megabyte_are_read() -> None:
    """Nothing here may take time with the square of the answer; a hang would show."""
    block = "<<<<<<< SEARCH\n" + "no such line\n" * 40_000 + "=======\nx\n>>>>>>> REPLACE\n"
    for answer in (
        "a" * 1_000_000,
        "TITLE: " + "*" * 1_000_000,
        "EXPECTED: " + "1" * 1_000_000,
        "<think>" * 100_000,
        "<think" + " " * 200_000,
        "</think" + " a" * 100_000,
        "<|channel|>" * 20_000,
        ">>>>>>> REPLACE" + "<x>" * 50_000 + " <",
        "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n" * 2_000,
        "<<<<<<< SEARCH\n" * 20_000,
        "<" * 1_000_000,
        "`" * 1_000_000 + "\n" + block,
        block * 2,
        "# " * 300_000 + "HYPOTHESIS",
    ):
        assert read_answer(answer, "stop", SOURCE).error is not None

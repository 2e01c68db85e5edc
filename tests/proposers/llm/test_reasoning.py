"""Reasoning in an answer: whatever marks it, a draft in it is never applied."""

import pytest

from nightlab.proposers.llm.answer import Draft, edits_of, read_answer
from nightlab.proposers.llm.reasoning import without_reasoning
from nightlab.records import Edit
from tests.proposers.asking import GOOD
from tests.proposers.trainer_sample import SOURCE
from tests.scripted_endpoint import answer_with_edit

DRAFT = answer_with_edit("DEPTH = 4", "DEPTH = 12", title="Draft", hypothesis="No, too deep.")
HALF = DRAFT[: DRAFT.index(">>>>>>>")]
"""A draft that was given up inside its block."""
BLOCK = GOOD[GOOD.index("<<<<<<<") :]
MARKS = [
    ("<think>", "</think>"),
    ("<THINK>", "</Think>"),
    ("<thinking>", "</thinking>"),
    ("<thinking budget='9'>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<chain of thought>", "</chain of thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<analysis>", "</analysis>"),
    ("<plan>", "</plan>"),
    ("<seed:think>", "</seed:think>"),
    ("<antThinking>", "</antThinking>"),
    ("[THINK]", "[/THINK]"),
    ("[thinking]", "[/thinking]"),
    ("◁think▷", "◁/think▷"),
    ("<思考>", "</思考>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n<|begin_of_solution|>"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<｜begin▁of▁thinking｜>", "<｜end▁of▁thinking｜>"),
    (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final <|constrain|>text<|message|>",
    ),
    ("<|channel>thought\n", "<channel|>"),
    ("analysis", "assistantfinal"),
    ("<think>", "</think>\n<answer>\n"),
]


def read(answer: str) -> Draft:
    return read_answer(answer, "stop", SOURCE)


def assert_is_good(draft: Draft) -> None:
    assert draft.error is None
    assert (draft.title, draft.hypothesis) == ("Deeper", "Depth helps.")
    assert "DEPTH = 5  # 2..12; blocks" in draft.source
    assert len(draft.edits) == 1


@pytest.mark.parametrize(("opens", "closes"), MARKS)
def test_reasoning_is_no_answer_whatever_marks_it(opens: str, closes: str) -> None:
    for thought in ("We try it.", f"We try\n{DRAFT}\nor not.\n", f"We try\n{HALF}", DRAFT.rstrip()):
        assert_is_good(read(f"{opens}{thought}{closes}{GOOD}"))
        # A template may have written what opens.
        assert_is_good(read(f"{thought}{closes}\n\n{GOOD}"))
        unclosed = read(f"{opens}{thought}\n\n{GOOD}")
        assert unclosed.edits == ()
        assert unclosed.error is not None
        assert "never ends it" in unclosed.error


@pytest.mark.parametrize(
    "answer",
    [
        f"Let me see.\n<think>{DRAFT}</think>\n{GOOD}",
        f"<think>One.</think>\n<think>{DRAFT}</think>\n{GOOD}",
        f"<think>One <think>{DRAFT}</think>\n{GOOD}",
        f"<think>One <think>two</think> {DRAFT}</think>\n{GOOD}",
        f"<think>One</think> {DRAFT}</think>\n{GOOD}",
        f"<think>One <reflection>two</reflection>\n{DRAFT}</think>\n{GOOD}",
        f"{DRAFT}<think>One</think> two</think>\n{GOOD}",
        f"<think>{DRAFT}<think>One</think>\n{GOOD}",
        f"<think>{DRAFT}</thinking>\n{GOOD}",
        f"{GOOD}<think>Is it right? {DRAFT} No.</think>\n",
        f"{GOOD}<think>Yes.</think>\nThat is all.",
        GOOD.replace("\n\n", f"\n<think>{DRAFT}</think>\n"),
        GOOD.replace("\n\n", f"<think>{DRAFT}</think>"),
        f"{HALF}</think>TITLE: Deeper\nHYPOTHESIS: Depth helps.\n<think>{HALF}</think>{BLOCK}",
    ],
)
def test_reasoning_may_stand_anywhere_and_more_than_once(answer: str) -> None:
    assert_is_good(read(answer))


@pytest.mark.parametrize(
    "end", ["<|return|>", " <|im_end|>", "</answer></s>", "\n<|END_RESPONSE|>"]
)
def test_tokens_that_end_an_answer_do_not_hide_its_last_marker(end: str) -> None:
    assert_is_good(read(GOOD.rstrip() + end))


def test_marks_inside_a_block_are_text_of_the_file() -> None:
    code = 'MARKS = ("<think>", "</think>", "[THINK]", "<|channel|>final")\n# </think>\nDEPTH = 5'
    for thought in ("", f"<think>{DRAFT}</think>", f"{DRAFT}</think>", f"{HALF}</think>"):
        draft = read(thought + answer_with_edit("DEPTH = 4", code, title="Marks"))
        assert draft.error is None
        assert draft.title == "Marks"
        assert code in draft.source


@pytest.mark.parametrize(
    "said",
    [
        "With `<think>` and `</think>` as tokens of their own.",
        "Quoted: `a`, `<think>`.",
        "Where a < b and reasoning > 3 the thinking holds.",
        "See [reasoning](https://example.org/reason) and <https://example.org/thinking>.",
        "A list[thoughts] is <b>bold</b>.",
    ],
)
def test_what_only_speaks_of_thinking_is_no_mark(said: str) -> None:
    draft = read(GOOD.replace("Depth helps.", said))
    assert draft.error is None
    assert (draft.title, draft.hypothesis) == ("Deeper", said)


@pytest.mark.parametrize("before", ["`x`", "don`t ", "```\nx\n```", "``"])
def test_a_mark_beside_quoted_code_is_one(before: str) -> None:
    assert_is_good(read(f"We try {DRAFT} and {before}</think>`y` is no title.\n{GOOD}"))


def test_an_answer_that_is_all_reasoning_is_empty() -> None:
    error = read(f"<think>{GOOD}</think>\n").error
    assert error == "The answer is empty but for its reasoning (finish reason stop)."


def test_blocks_of_an_answer_are_those_outside_its_reasoning() -> None:
    assert edits_of(f"{DRAFT}</think>{GOOD}") == (
        Edit(search="DEPTH = 4\n", replace="DEPTH = 5\n"),
    )
    assert edits_of(f"<think>{GOOD}") == ()


def test_what_is_said_on_both_sides_of_reasoning_stands_on_lines_of_its_own() -> None:
    assert without_reasoning("a<think>b</think>c<think>d</think>") == "a\nc\n"
    assert without_reasoning("a\nb") == "a\nb"

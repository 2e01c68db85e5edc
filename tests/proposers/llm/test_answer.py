"""What of a model's answer counts: its text, its idea, its edits, and when there is no answer."""

import pytest

from nightlab.proposers.llm.answer import Draft, read_answer
from tests.proposers.asking import GOOD
from tests.proposers.trainer_sample import SOURCE
from tests.scripted_endpoint import answer_with_edit


def read(answer: str, finish_reason: str = "stop") -> Draft:
    return read_answer(answer, finish_reason, SOURCE)


TWO_BLOCKS = GOOD + "\n" + answer_with_edit("WIDTH = 64", "WIDTH = 96").split("\n\n")[1]


def test_blocks_are_one_edit_and_all_of_them_are_applied() -> None:
    draft = read(TWO_BLOCKS)
    assert draft.error is None
    assert len(draft.edits) == 2
    assert "DEPTH = 5" in draft.source
    assert "WIDTH = 96" in draft.source


@pytest.mark.parametrize(
    "finish_reason",
    [
        *("length", "LENGTH", "max_tokens", "MAX_TOKENS", "maxTokens", "max_output_tokens"),
        *("model_length", "token_limit", "stopped_limit", "model_context_window_exceeded"),
        *("FINISH_REASON_MAX_TOKENS", "incomplete", "compaction", "pause_turn", "cancelled"),
        *("content_filter", "SAFETY", "RECITATION", "refusal", "sensitive", "PROHIBITED_CONTENT"),
        *("error", "network_error", "abort", "timeout", "insufficient_system_resource"),
        *("MALFORMED_FUNCTION_CALL", "OTHER", "a word that nobody has heard of"),
    ],
)
def test_a_cut_answer_is_none_even_where_it_ends_with_a_block(finish_reason: str) -> None:
    for answer in (GOOD, TWO_BLOCKS, GOOD[:-20], TWO_BLOCKS[:-20], f"<think>{GOOD}", "A word."):
        draft = read(answer, finish_reason)
        assert (draft.edits, draft.source) == ((), "")
        assert draft.error is not None
        assert f"was cut off (finish reason {finish_reason})" in draft.error
    assert read(GOOD, finish_reason).title == "Deeper"
    assert read(" \n", finish_reason).error == (
        f"The answer is empty (finish reason {finish_reason})."
    )


@pytest.mark.parametrize(
    "finish_reason",
    [
        *(
            "stop",
            "STOP",
            "end_turn",
            "endTurn",
            "stop_sequence",
            "stop_string",
            "eos",
            "eos_token",
        ),
        *("eot", "end_of_text", "COMPLETE", "completed", "finished", "done", "message_stop"),
        *("FINISH_REASON_STOP", "tool_calls", "function_call", "tool_use", "success"),
        *("</s>", "<|im_end|>", "<|endoftext|>", "matched_stop", "stop_str", "normal"),
        *("", "unknown", "none", "null", "FINISH_REASON_UNSPECIFIED"),
    ],
)
def test_an_answer_that_its_model_ended_is_whole(finish_reason: str) -> None:
    assert read(TWO_BLOCKS, finish_reason).error is None


@pytest.mark.parametrize("cut", range(1, len(TWO_BLOCKS) - len(GOOD)))
def test_what_breaks_off_inside_its_second_block_is_not_applied_in_part(cut: int) -> None:
    """No server said that it was cut."""
    answer = TWO_BLOCKS[:-cut].rstrip("\n")
    if answer.endswith("REPLACE"):
        return
    draft = read(answer, "unknown")
    assert draft.error is not None
    assert "was the answer cut off?" in draft.error
    assert draft.source == ""


@pytest.mark.parametrize("line", ["<<<<<<< HEAD", "<<<< SEARCH", "<", ">>>>>>> UPDATED", "  >>>>"])
def test_a_line_that_is_nearly_a_marker_is_sent_back(line: str) -> None:
    for answer in (
        f"{GOOD}{line}\n<<< and so on",
        f"Here.\n{line}\n{GOOD}",
        f"{GOOD}{line}\n{GOOD}",
    ):
        draft = read(answer)
        assert draft.source == ""
        assert draft.error is not None
        assert f"The line '{line.strip()}' stands outside the blocks" in draft.error


@pytest.mark.parametrize("line", [">>> model(x)", "> a quote", "a << b", "Title\n=======", "```"])
def test_a_line_that_is_far_from_a_marker_is_none(line: str) -> None:
    assert read(f"{line}\n{GOOD}{line}\n").error is None


@pytest.mark.parametrize(
    "draft",
    [
        "Thinking...\n{}...done thinking.\n\n",
        "Here is my thought process:\n{}\nHere is my response:\n\n",
        "First idea:\n{}That is too deep. Second idea:\n",
    ],
)
def test_a_draft_that_nothing_marks_is_sent_back(draft: str) -> None:
    first = answer_with_edit("DEPTH = 4", "DEPTH = 12", title="Draft")
    for answer in (draft.format(first) + GOOD, draft.format(first.split("\n\n")[1]) + GOOD):
        found = read(answer)
        assert (found.edits, found.source) == ((), "")
        assert found.error is not None
        assert "a second TITLE after its first block" in found.error


@pytest.mark.parametrize(
    "title", ["- TITLE: B", "2. TITLE: B", "__TITLE__: B", "### Title\nB", "<ctrl95>TITLE: B"]
)
def test_a_second_title_is_one_however_it_is_set(title: str) -> None:
    block = answer_with_edit("DEPTH = 4", "DEPTH = 12").split("\n\n")[1]
    error = read(f"{block}{title}\n{TWO_BLOCKS.split('TITLE', 1)[-1].partition(chr(10))[2]}").error
    assert error is not None
    assert "a second TITLE after its first block" in error


@pytest.mark.parametrize("head", ["HYPOTHESIS: No, less.", "- **Expected:** -0.1"])
def test_whatever_an_idea_begins_with_begins_another(head: str) -> None:
    first, second = GOOD.split("\n\n")[1], TWO_BLOCKS.removeprefix(GOOD)
    error = read(f"TITLE: A\n{first}That is too deep.\n{head}\n{second}").error
    assert error is not None
    assert f"a second {'HYPOTHESIS' if 'HYP' in head else 'EXPECTED'} after" in error


def test_two_drafts_of_one_place_are_not_applied_together() -> None:
    place = "    run.save(model)"
    first, second = (
        answer_with_edit(place, f"    {call}()\n{place}").split("\n\n")[1] for call in ("a", "b")
    )
    draft = read(f"TITLE: A\n{first}Or rather:\n{second}")
    assert (draft.edits, draft.source) == ((), "")
    assert draft.error is not None
    assert "two blocks with the same SEARCH" in draft.error


@pytest.mark.parametrize("mark", ["- ", "1. ", "**", "* **", "> ", "1) __"])
def test_a_title_may_stand_in_a_list(mark: str) -> None:
    assert read(f"{mark}TITLE: Deeper\n{GOOD.partition(chr(10))[2]}").title == "Deeper"


def test_a_title_among_the_lines_of_a_block_is_text_of_the_file() -> None:
    assert read(TWO_BLOCKS.replace("DEPTH = 5", "DEPTH = 5\n# TITLE: none")).error is None
    assert read(TWO_BLOCKS + "\nTITLE: Deeper and wider").error is None


@pytest.mark.parametrize(
    ("head", "title", "hypothesis", "expected"),
    [
        # Of several, the first that says something counts.
        ("TITLE: A\nTITLE: B\nHYPOTHESIS: C\nHYPOTHESIS: D\nand E", "A", "C", None),
        ("TITLE:\nTITLE: B\nEXPECTED: no idea\nEXPECTED: 0\nEXPECTED: -2", "B", "", 0.0),
        ("TITLE: A\nHYPOTHESIS:\nC\nTITLE: B\nD", "A", "C", None),
        ("HYPOTHESIS: C\nTITLE: A\nEXPECTED: 1\nmore", "A", "C", 1.0),
        ("HYPOTHESIS: C\nand D\nEXPECTED: 1\nmore", "C and D", "C and D", 1.0),
        ("TITLE: A\n```\nTITLE: B\nHYPOTHESIS: C", "A", "", None),
        ("TITLE: A\n~~~\nHYPOTHESIS: C", "A", "", None),
        ("Subtitle: B\nTITLE: **A**", "A", "", None),
        ("TITLE: " + "a" * 300, "a" * 99 + "…", "", None),
        ("HYPOTHESIS: " + "a" * 300, "a" * 99 + "…", "a" * 300, None),
        ("EXPECTED: 100", "An answer without a title", "", None),
        ("EXPECTED: 99.9", "An answer without a title", "", 99.9),
        ("EXPECTED: -100", "An answer without a title", "", None),
    ],
)
def test_an_idea_is_what_stands_before_the_blocks(
    head: str, title: str, hypothesis: str, expected: float | None
) -> None:
    draft = read(f"{head}\n" + GOOD.split("\n\n")[1] + "TITLE: late\nEXPECTED: 7\n")
    assert draft.error is None
    assert (draft.title, draft.hypothesis) == (title, hypothesis)
    assert draft.expected_bpb == expected


def test_an_answer_with_the_line_ends_of_windows_is_read_alike() -> None:
    windows = read(f"<think>{GOOD}</think>{TWO_BLOCKS}".replace("\n", "\r\n"))
    assert windows == read(TWO_BLOCKS)


def test_what_does_not_apply_keeps_its_edits_for_the_record() -> None:
    for search, replace in (("nothing like it", "x"), ("DEPTH = 4", "DEPTH = =")):
        draft = read(answer_with_edit(search, replace))
        assert draft.error is not None
        assert (draft.source, len(draft.edits)) == ("", 1)


def test_blocks_that_match_but_for_white_space_are_told() -> None:
    block = answer_with_edit("run.save(model)", "run.save(model)\nprint(step)").split("\n\n")[1]
    draft = read(GOOD + block.replace("run.save(model)\n", "run.save(model)  \n"))
    assert draft.error is None
    assert draft.tolerated == (2,)
    assert "\n    print(step)\n" in draft.source

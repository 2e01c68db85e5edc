"""The text of a message, in whatever form its content comes."""

import pytest

from nightlab.models.content import text_of_content

BLOCK = "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("as it is", "as it is"),
        (None, ""),
        (7, ""),
        (b"bytes", ""),
        ([], ""),
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "line\n"}], "one line\n"),
        (
            [
                {"type": "output_text", "text": "a"},
                "b",
                {"text": "c"},
                {"type": "TEXT", "text": "d"},
            ],
            "abcd",
        ),
        ({"type": "text", "text": {"value": "a", "annotations": []}}, "a"),
        ([{"type": "message", "content": [{"type": "output_text", "text": "a"}]}], "a"),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "draft"}]},
                {"type": "thinking", "text": "draft"},
                {"type": "reasoning", "text": "draft", "summary": []},
                {"type": "reasoning_text", "text": "draft"},
                {"type": "summary_text", "text": "draft"},
                {"text": "draft", "thought": True},
                {"type": "text", "text": "draft", "is_thought": True},
                {"kind": "thinking", "text": "draft"},
                {"type": "text", "text": "draft", "channel": "analysis"},
                {"type": "tool_use", "name": "edit", "input": {"text": "draft"}},
                {"type": "image_url", "image_url": {"url": "draft"}},
                {"type": "text", "text": "answer", "thought": False, "channel": "final"},
            ],
            "answer",
        ),
    ],
)
def test_a_content_is_read_in_whatever_form_it_comes(content: object, text: str) -> None:
    assert text_of_content(content) == text


def test_a_marker_at_the_border_of_two_parts_gets_a_line_of_its_own() -> None:
    parts = ["HYPOTHESIS: It helps.", BLOCK, "Then:\n", BLOCK + "\n", BLOCK, "", "That", " is all."]
    content = [{"type": "text", "text": part} for part in parts]
    assert text_of_content(content) == (
        f"HYPOTHESIS: It helps.\n{BLOCK}\nThen:\n{BLOCK}\n{BLOCK}\nThat is all."
    )


def test_parts_of_any_size_are_put_together_as_they_were() -> None:
    text = f"TITLE: A\n{BLOCK}\n{BLOCK}\n"
    for size in range(1, len(text)):
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        assert text_of_content(parts) == text

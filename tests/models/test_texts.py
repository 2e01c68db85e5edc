"""Texts of others on one line or between fences."""

from nightlab.models.texts import fenced, one_line


def test_a_fence_is_longer_than_any_inside() -> None:
    assert fenced("a ```` b").startswith("`````\n")
    assert fenced("plain", "python") == "```python\nplain\n```"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"

"""Three functions make text of others fit for a terminal, for Markdown and for HTML."""

import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markupsafe import Markup

from nightlab.shown import Markdown, fenced, for_html, for_markdown, for_terminal
from tests.hostile_texts import HONEST, HOSTILE

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
MARKS = st.text(alphabet="\\`*_{}[]()<>#+-.!|~:@&$= \n\tawx1/\"'\x1b\u202e", max_size=60)
STEERING = {"Cc", "Cs", "Zl", "Zp", "Cf"}


def steers(text: str) -> list[str]:
    """The characters of a text that steer a terminal."""
    return [each for each in text if unicodedata.category(each) in STEERING and each not in "\n\t"]


def structure(text: str, *, is_inline: bool = False) -> list[str]:
    """What a reader of Markdown makes of a text, without the words."""
    reader = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    tokens = reader.parseInline(text) if is_inline else reader.parse(text)
    every = [inner for each in tokens for inner in (each, *(each.children or ()))]
    return [each.type for each in every if each.type not in ("text", "text_special", "softbreak")]


def read(text: str) -> str:
    """What a person reads of Markdown without any structure."""
    tokens = MarkdownIt("commonmark").parse(text)
    return "".join(part.content for each in tokens for part in each.children or ())


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_steers_a_terminal_and_all_of_it_is_seen(text: str) -> None:
    shown = for_terminal(text)
    assert steers(shown) == []
    assert "\r" not in shown
    assert for_terminal(shown) == shown
    for each in set(steers(text.replace("\r\n", "\n"))):
        assert each.encode("unicode_escape").decode() in shown


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_is_shown_as_it_is(text: str) -> None:
    assert for_terminal(text) == text
    assert read(for_markdown(text)) == " ".join(text.split())


def test_a_long_text_is_taken() -> None:
    text = "<b>" * 20_000 + "`" * 10_000 + "\x1b[" * 20_000 + "nightlab `" * 5_000 + "www" * 20_000
    assert steers(for_terminal(text)) == []
    assert "<" not in for_markdown(text)
    assert "<" not in for_html(text)
    assert structure(fenced(text)) == ["fence"]


def test_what_is_hidden_is_written_as_python_writes_it() -> None:
    assert for_terminal("\x1b[1m\r\u202e\ud800\U000e0041") == r"\x1b[1m\r\u202e\ud800\U000e0041"
    assert for_terminal("a\r\nb") == "a\nb"
    assert for_terminal("x\ufe0f ⚙\ufe0f") == "x\\ufe0f ⚙\ufe0f"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_in_markdown_it_is_one_paragraph_of_words(text: str) -> None:
    shown = for_markdown(text)
    without_commands = [each for each in structure(shown) if each != "code_inline"]
    assert without_commands in (["paragraph_open", "inline", "paragraph_close"], [])
    for bare in ("://", "www.", "@", "<", "![", "](", "|", "~~", "**"):
        assert bare not in shown
    assert "\n" not in shown
    assert for_markdown(shown) is shown


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_fence_holds_it(text: str) -> None:
    assert structure(fenced(text, "diff")) == ["fence"]
    assert structure(f"before\n\n{fenced(text)}\n\nafter").count("fence") == 1
    assert steers(fenced(text)) == []


@given(st.one_of(ANY, MARKS))
@settings(max_examples=300, deadline=None)
def test_any_text_is_words_in_markdown_in_a_cell_and_behind_other_words(text: str) -> None:
    shown = for_markdown(text)
    plain = Markdown("# {}\n\n| a |\n|---|\n| {} |\n\nword {}\n")
    as_word = structure(plain.filled("word", "word", "word"))
    found = [each for each in structure(plain.filled(text, text, text)) if each != "code_inline"]
    assert found == as_word or not shown
    if "`nightlab " not in text:
        assert read(shown).split() == for_terminal(text).split()
    assert structure(fenced(text)) in (["fence"], [])


@given(ANY)
@settings(max_examples=300, deadline=None)
def test_any_text_is_taken_and_made_no_longer_than_by_a_factor(text: str) -> None:
    assert len(for_terminal(text)) <= 10 * len(text)
    assert len(for_markdown(text)) <= 60 * len(text)
    for_terminal(text).encode()
    assert for_terminal(for_terminal(text)) == for_terminal(text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_in_html_it_is_text_between_tags_and_between_quotes(text: str) -> None:
    found: list[tuple[str, list[tuple[str, str | None]]]] = []

    class Elements(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, attrs))

    shown = for_html(text)
    Elements().feed(f"<p title=\"{shown}\" class='{shown}'>{shown}</p>")
    assert [(tag, [name for name, _ in attrs]) for tag, attrs in found] == [
        ("p", ["title", "class"])
    ]
    assert shown.unescape() == for_terminal(text)
    assert for_html(shown) is shown
    assert for_html(Markup("<b>")) == "<b>"


def test_a_text_of_our_own_is_filled_with_texts_of_others() -> None:
    row = Markdown("| {} | {name:.2f} | {kept} |")
    kept = Markdown("**{}**").filled("*keep*")
    assert row.filled("a|b", name=0.5, kept=kept) == "| a&#124;b | 0.50 | **&#42;keep&#42;** |"
    assert Markdown(", ").joined(["<b>", "", kept]) == "&#60;b&#62;, **&#42;keep&#42;**"
    assert for_markdown("`nightlab show x 3` says `x`") == "`nightlab show x 3` says &#96;x&#96;"


def test_a_block_of_code_is_cut_so_that_it_is_closed_and_left_out_where_it_is_blank() -> None:
    whole = fenced("+x\n" * 1000, "diff", 100)
    assert len(whole) <= 100
    assert structure(whole) == ["fence"]
    assert whole.endswith("\n```")
    assert fenced(" \n", "diff") == ""

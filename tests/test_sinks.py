"""Where text leaves for people, read from the source: few places, each of which makes it fit.

A terminal is written to through ``flows.terminal`` alone, whose console takes no text for more
than text. Pages are made by the one environment of templates, which escapes all that is put in.
What is rendered as Markdown has the type ``Markdown``: mypy asks for it at each sink, and only a
text in the source, or one of the three functions, becomes one.
"""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

SINKS = {
    "rich.console.Console": {"flows/terminal.py", "nightlab/doctor.py"},
    "rich.syntax": {"flows/terminal.py"},
    "sys.stdout": {"flows/terminal.py", "flows/command_line.py"},
    "sys.stderr": {"flows/terminal.py", "flows/command_line.py"},
    "jinja2": {"nightlab/report/page.py"},
    "autoescape=": {"nightlab/report/page.py"},
    "markup=": {"nightlab/report/page.py"},  # the name of a filter, for drawings
    # Its names of characters, to find keys by.
    "html": {"nightlab/redaction.py"},
    "markupsafe": {"nightlab/shown.py", "nightlab/report/page.py"}
    # A drawing by matplotlib.
    | {"nightlab/report/comparison_page.py"},
    "prefect.artifacts.create_markdown_artifact": {"flows/session_page.py"},
    "prefect.artifacts.create_progress_artifact": {"flows/progress.py"},
    "prefect.artifacts.update_progress_artifact": {"flows/progress.py"},
    "mlflow.note.content": {"nightlab/tracking/tags.py"},
    # A model's card, as this engine wrote it.
    "Markdown of what is computed": {"nightlab/shown.py", "nightlab/tracking/champion.py"},
}
"""By what text may reach people as more than text, and the modules that see to it there."""
FORBIDDEN = {
    *("click", "curses", "colorama", "rich.markup", "rich.prompt", "rich.print"),
    *("rich.get_console", "rich.markdown", "rich.logging", "prefect.artifacts", "from_markup"),
    *("from_ansi", "echo", "secho", "highlight=", "print"),
}
WORDS = {"from_markup", "from_ansi", "echo", "secho"}
ARGUMENTS = {"markup", "autoescape", "highlight"}


def sinks(source: str) -> Iterator[str]:
    """The sinks that a module's text names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from _of_import(node.module, [each.name for each in node.names])
        elif isinstance(node, ast.Import):
            for each in node.names:
                yield from _of_import(each.name, [])
        elif isinstance(node, ast.Attribute):
            if ast.unparse(node) in ("sys.stdout", "sys.stderr", "sys.__stdout__"):
                yield ast.unparse(node)
            if node.attr in WORDS:
                yield node.attr
        elif isinstance(node, ast.Constant) and node.value == "mlflow.note.content":
            yield node.value
        elif isinstance(node, ast.Call):
            yield from _of_call(node)


def _of_import(module: str, names: list[str]) -> Iterator[str]:
    """The sinks that an import names: a whole library, or one thing of it."""
    known = SINKS.keys() | FORBIDDEN
    whole = {module, *(f"{module}.{name}" for name in names), module.partition(".")[0]}
    for each in sorted(whole):
        if each in known and not (each == "prefect.artifacts" and names):
            yield each
    if module == "prefect.artifacts":
        yield from (f"{module}.{name}" for name in names if f"{module}.{name}" not in known)
    if module == "sys":
        yield from (f"sys.{name}" for name in names if name.startswith("std") and name != "stdin")


def _of_call(node: ast.Call) -> Iterator[str]:
    if isinstance(node.func, ast.Name) and node.func.id == "print":
        yield "print"
    if isinstance(node.func, ast.Name) and node.func.id == "Markdown":
        (given,) = node.args
        if not isinstance(given, ast.Constant):
            yield "Markdown of what is computed"
    for each in node.keywords:
        if each.arg in ARGUMENTS and ast.unparse(each.value) != "False":
            yield f"{each.arg}="


def test_text_reaches_people_through_few_modules() -> None:
    found = []
    for folder in ("flows", "tasks", "nightlab"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith("nightlab/sandbox/"):
                continue  # Its programs write to the engine.
            for sink in sinks(path.read_text(encoding="utf-8")):
                if name not in SINKS.get(sink, ()):
                    found.append(f"{name}: {sink}")
    assert found == []


def test_no_template_lets_markup_through() -> None:
    for path in (ROOT / "nightlab").rglob("*.j2"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|\bMarkup\b", text), path.name


@pytest.mark.parametrize(
    ("line", "sink"),
    [
        ("from rich.console import Console", "rich.console.Console"),
        ("from rich.console import Group, Console as C", "rich.console.Console"),
        ("import rich.syntax", "rich.syntax"),
        ("from rich.syntax import Syntax", "rich.syntax"),
        ("from rich import print", "rich.print"),
        ("def f():\n    from html import escape as e", "html"),
        ("import html.entities", "html"),
        ("from jinja2 import Template", "jinja2"),
        ("from markupsafe import Markup", "markupsafe"),
        ("from prefect.artifacts import create_markdown_artifact as put", "create_markdown"),
        ("from prefect.artifacts import create_link_artifact", "create_link_artifact"),
        ("import prefect.artifacts", "prefect.artifacts"),
        ("import sys\nsys.stdout.buffer.write(b'')", "sys.stdout"),
        ("from sys import stderr", "sys.stderr"),
        ("typer.echo(title)", "echo"),
        ("print(title)", "print"),
        ("console.print(title, markup=True)", "markup="),
        ("Text.from_markup(title)", "from_markup"),
        ("tags['mlflow.note.content'] = title", "mlflow.note.content"),
        ("Markdown(title)", "Markdown of what is computed"),
        ("Markdown(f'# {title}')", "Markdown of what is computed"),
        ("Markdown('# ' + title)", "Markdown of what is computed"),
    ],
)
def test_a_sink_is_seen_however_it_is_written(line: str, sink: str) -> None:
    assert any(sink in each for each in sinks(line))


def test_what_is_no_sink_is_none() -> None:
    line = "console.print(title, style='dim')\nMarkdown('# {}').filled(title)\nre.escape(title)"
    assert list(sinks(f"{line}\nfrom rich.console import Group\nx.print(1)")) == []

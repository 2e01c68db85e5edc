"""SEARCH in the source: exact, then but for white space, then not at all."""

import pytest

from nightlab.proposers.edits import apply_edits
from nightlab.records import Edit

SOURCE = """class Block:
    def forward(self, x):
        y = self.norm(x)

        return x + y

def main():
    run = connect()
    return run
"""


def applied(search: str, replace: str) -> str:
    outcome = apply_edits(SOURCE, [Edit(search=search, replace=replace)])
    assert outcome.error is None, outcome.error
    assert outcome.tolerated == (1,)
    return outcome.source


def refused(search: str, replace: str = "x = 1\n", source: str = SOURCE) -> str:
    outcome = apply_edits(source, [Edit(search=search, replace=replace)])
    assert outcome.error is not None
    assert outcome.source == source
    return outcome.error


def test_white_space_at_the_ends_of_lines_is_ignored() -> None:
    changed = applied("    run = connect()   \n    return run\t\n", "    return connect()\n")
    assert changed == SOURCE.replace(
        "    run = connect()\n    return run\n", "    return connect()\n"
    )


def test_blank_lines_around_and_inside_a_block_are_ignored_but_not_dropped() -> None:
    search = "\n\n        y = self.norm(x)\n   \n        return x + y\n\n\n"
    changed = applied(search, "        return x\n")
    assert changed == SOURCE.replace(
        "        y = self.norm(x)\n\n        return x + y\n", "        return x\n"
    )


@pytest.mark.parametrize("indent", ["", "    ", "            ", "\t        "])
def test_one_indentation_may_differ_and_the_replacement_follows(indent: str) -> None:
    search = f"{indent}y = self.norm(x)\n\n{indent}return x + y\n"
    replace = f"{indent}y = self.norm(x)\n\n{indent}if y:\n{indent}    return y\n"
    changed = applied(search, replace)
    new = "        y = self.norm(x)\n\n        if y:\n            return y\n"
    assert changed == SOURCE.replace("        y = self.norm(x)\n\n        return x + y\n", new)


def test_an_exact_match_goes_before_one_but_for_white_space() -> None:
    source = "a = 1\nb = 2  \nb = 2\nc = 3\n"
    outcome = apply_edits(source, [Edit(search="b = 2\nc = 3\n", replace="c = 4\n")])
    assert (outcome.source, outcome.tolerated) == ("a = 1\nb = 2  \nc = 4\n", ())


def test_two_places_but_for_white_space_are_refused() -> None:
    source = "if a:\n    run()  \n    end()\nif b:\n        run()  \n        end()\n"
    assert "matches at 2 places" in refused("  run()\n  end()\n", source=source)


@pytest.mark.parametrize(
    "search",
    [
        # Two indentations, another code, spaces inside a line.
        "    y = self.norm(x)\n\n  return x + y\n",
        "  y = self.norm(z)\n\n  return x + y\n",
        "  y  = self.norm(x)\n\n  return x + y\n",
        "  run = connect()\n  return\n",
    ],
)
def test_nothing_else_is_forgiven(search: str) -> None:
    assert "does not match" in refused(search)


def test_a_replacement_that_cannot_follow_is_refused() -> None:
    search = "            y = self.norm(x)\n\n            return x + y\n"
    assert "is indented less" in refused(search, "  y = 1\n")


@pytest.mark.parametrize("search", ["qqqqqqqqqq\n", "qqqqqqqqqq\n\nzzzzzzzzzz\n"])
def test_where_nothing_is_like_it_nothing_is_shown(search: str) -> None:
    assert refused(search).endswith("does not stand in trainer/train.py, nor anything like it.")


def test_the_closest_lines_are_shown_where_the_search_would_begin() -> None:
    near = refused("    start()\n    run = conect()\n")
    assert near.endswith(" exactly. Closest are:\n7: def main():\n8:     run = connect()")
    same = refused("    return x\n\n    return run\n")
    assert same.endswith(
        " exactly. Closest are:\n7: def main():\n8:     run = connect()\n9:     return run"
    )
    first = refused("x = 1\na = 1\n", source="b\na = 1\nc\na = 1\n")
    assert first.endswith(" exactly. Closest are:\n1: b\n2: a = 1")


def test_only_so_much_of_the_closest_lines_is_shown() -> None:
    long = "".join(f"{number} {'x' * 300}\n" for number in range(20))
    shown = refused(long.replace("0 ", "a ", 1), source=long).split("\n")[1:]
    assert shown == [f"{number + 1}: {number} {'x' * 198}" for number in range(8)]

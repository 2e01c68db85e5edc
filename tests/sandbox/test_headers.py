"""Headers: which are needed, and that only their comments go."""

import pytest

from nightlab.sandbox.headers import follow, included_names, without_comments


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("int a; // words\nint b;", "int a;\nint b;"),
        ("int a; /* words\nwords */ int b;", "int a;   int b;"),
        ("a // words \\\n words\nb", "a\nb"),
        ("#define A b \\\n /* words\n words */ c\n", "#define A b \\\n   c\n"),
        ('const char* s = "// no /* comment */";', 'const char* s = "// no /* comment */";'),
        (r'"a\"// no" // words', r'"a\"// no"'),
        ("char c = '\"'; // words", "char c = '\"';"),
        ('R"x(// no )" /* no */)x" // words', 'R"x(// no )" /* no */)x"'),
        ("int n = 1'000'000; // words", "int n = 1'000'000;"),
        ("int n = 0xF'F; // it's", "int n = 0xF'F;"),
        ("#error don't // no", "#error don't // no"),
        ("a/**/b", "a b"),
    ],
)
def test_only_comments_go(text, stripped):
    assert without_comments(text) == stripped


def test_includes_are_followed_whatever_the_conditions(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    (first / "a.h").write_text('#if 0\n#  include "near.h"\n#endif\n#include <gone.h>\n')
    (first / "near.h").write_text("#include_next <a.h>\n")
    (second / "a.h").write_text("#include <a.h>\n")
    (second / "unused.h").write_text("")
    found = follow(["a.h"], [first, second])
    assert found == {first / "a.h", first / "near.h", second / "a.h"}


def test_includes_in_a_makers_text():
    text = 'lines.append(\'#include <one.h>\')\nTEMPLATE = """\n#include "two/x.h"\n{}"""'
    assert included_names(text) == {"one.h", "two/x.h"}

"""Placeholders for code that was not written out: sent back where they would delete it."""

import pytest

from nightlab.proposers.llm.answer import read_answer
from nightlab.proposers.llm.elisions import elision
from nightlab.records import Edit
from tests.proposers.trainer_sample import SOURCE
from tests.scripted_endpoint import answer_with_edit

SEARCH = """\
    def forward(self, x):
        y = self.norm(x)
        # Attention first.
        z = self.attend(y)
        return x + z
"""
AT_THE_END = """\
    def forward(self, x):
        y = self.norm(2 * x)
        {}
"""
BEFORE_NEW_CODE = """\
    def forward(self, x):
        {}
        return x + 2 * z
"""
PLACEHOLDERS = [
    "# ... existing code ...",
    "#...existing code...",
    "# existing code",
    "# [existing code here]",
    "# Existing code remains unchanged.",
    "# Keep existing code",
    "# your existing code here",
    "# --- existing code ---",
    "# ... rest unchanged ...",
    "# rest unchanged",
    "# rest of the function",
    "# Rest of the function stays as is",
    "# rest of function...",
    "# rest of forward() is unchanged",
    "# the rest remains the same",
    "# leave the rest of the file unchanged",
    "# insert the rest of the code here",
    "# remaining code unchanged",
    "# other methods unchanged",
    "# everything else stays the same",
    "# previous implementation",
    "# original code here",
    "# code goes here",
    "# same code as before",
    "# (same as above)",
    "# as before",
    "# unchanged",
    "# (unchanged)",
    "# unchanged: rest of main",
    "# lines 10-40 unchanged",
    "# no changes below this line",
    "# code omitted for brevity",
    "# <snip>",
    "# and so on",
    "# and so forth",
    "# same as original",
    "# as in the original",
    "# identical to the original",
    "# the rest is identical",
    "# everything else stays identical",
    "# nothing else changes",
    "# no further changes",
    "# rest...",
    "# ⋮",
    "# ...",
    "# …",
    "# ⋯ existing code ⋯",
    "# . . .",
    "# [...]",
    "# ... attention as before ...",
    "# ... (lines 10-40) ...",
    "# ... the norm, unchanged",
    "## existing code ##",
    "// ... existing code ...",
    "/* existing code */",
    "<!-- existing code -->",
    "-- rest of the code",
    "; existing code",
    "% rest unchanged",
    "{/* ... existing code ... */}",
    "...",
    "…",
    "[...]",
    "... existing code ...",
    "(rest unchanged)",
    "[existing code]",
    "<existing code>",
    "pass  # existing code",
    "...  # rest of the body",
    "return ...  # ... existing code ...",
    "raise NotImplementedError  # same as before",
]


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@pytest.mark.parametrize("replace", [AT_THE_END, BEFORE_NEW_CODE])
def test_a_placeholder_for_code_that_would_go_is_found(replace: str, placeholder: str) -> None:
    other = Edit(search="a = 1\n", replace="a = 2\n")
    error = elision([other, Edit(search=SEARCH, replace=replace.format(placeholder))])
    assert error is not None
    assert error.startswith("Block 2 of 2 leaves code out where its REPLACE says ")
    assert f"'{' '.join(placeholder.split())}'" in error
    assert "\n        z = self.attend(y)\n" in error
    assert "def forward" not in error
    assert "Attention" not in error


@pytest.mark.parametrize("placeholder", ["# attention unchanged", "# the norm is not changed"])
def test_what_names_the_code_is_one_where_it_describes_no_new_code(placeholder: str) -> None:
    def found(replace: str) -> bool:
        return elision([Edit(search=SEARCH, replace=replace.format(placeholder))]) is not None

    assert found(AT_THE_END)
    assert found(AT_THE_END + "        return x + z\n")
    assert found(AT_THE_END + "        # A comment.\n        return 1\n")
    assert found(AT_THE_END + "\n    return 1\n")
    assert not found(AT_THE_END + "\n        return 1\n")


@pytest.mark.parametrize(
    "comment",
    ["# what is long and of many tokens stays as it was", "# all rows are the same"],
)
def test_a_sentence_is_none_wherever_it_stands(comment: str) -> None:
    assert elision([Edit(search=SEARCH, replace=AT_THE_END.format(comment))]) is None


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
def test_a_placeholder_is_text_where_no_code_goes(placeholder: str) -> None:
    """It was there before, or nothing is missing."""
    inserting = SEARCH.replace(
        "        y =", f"        seed(1)\n        {placeholder}\n        y ="
    )
    uncommenting = inserting.replace("        # Attention first.\n", "")
    search = SEARCH.replace("Attention first.", f"Attention.\n            {placeholder}")
    standing = Edit(search=search, replace=AT_THE_END.format(placeholder))
    for edit in (
        Edit(search=SEARCH, replace=inserting),
        Edit(search=SEARCH, replace=uncommenting),
        standing,
    ):
        assert elision([edit]) is None
    twice = standing.model_copy(update={"replace": standing.replace + f"        {placeholder}\n"})
    assert elision([twice]) is not None


@pytest.mark.parametrize(
    "comment",
    [
        "# Keep existing behaviour when depth is odd.",
        "# the existing schedule is kept for CPUs",
        "# Original code used LayerNorm; this is cheaper.",
        "# Same as before, but with RMSNorm",
        "# same for all layers",
        "# The rest of the batch is masked.",
        "# Rest of parameters go to AdamW",
        "# the rest",
        "# unchanged weights get no decay",
        "# Leave the embedding untouched, since it is tied.",
        "# see above for the shape",
        "# warm up ... then decay",
        "# first half...",
        "# ... second half of the ramp",
        "# x[0], x[1], ..., x[n]",
        "# 64..512 step 64",
        "# the body of the training loop",
        "[unchanged]",
        "# 1, 2, 3, ...",
        "# original: 0.02",
        "# -----",
        "#",
        "# " + "existing code " * 9,  # No placeholder is so long.
        "rate = 0.1  # unchanged",
        "z = z[..., 0]",
        "pair: tuple[int, ...] = (1, 2)",
        "z = f(...)",
        "z[...] = 0",
        "text = 'existing code'",
        '"""... existing code ..."""',
        "pass",
        "return  # early",
    ],
)
def test_a_comment_that_says_something_else_is_one_and_so_is_python(comment: str) -> None:
    for replace in (AT_THE_END + "        return x\n", BEFORE_NEW_CODE):
        assert elision([Edit(search=SEARCH, replace=replace.format(comment))]) is None


@pytest.mark.parametrize(
    "stub",
    [
        "class Norm(Protocol):\n    def __call__(self, x): ...\n",
        "class Norm(Protocol):\n    def __call__(self, x) -> Tensor:\n        ...\n",
        "class Norm(Protocol):\n    def __call__(\n        self, x\n    ) -> int:\n        ...\n",
        "class Missing(Exception):\n    ...\n",
        "class Missing(Exception): ...\n",
        "@overload\nasync def f(x: int) -> int:\n    # For whole numbers.\n    ...\n",
        'def f():\n    "Does nothing."\n    ...\n',
        "try:\n    f()\nexcept ValueError:\n    ...\n",
        "try:\n    f()\nexcept ValueError: ...\n",
    ],
)
def test_three_dots_are_the_body_of_what_is_new(stub: str) -> None:
    assert elision([Edit(search=SEARCH, replace=stub)]) is None


@pytest.mark.parametrize(
    "replace",
    [
        "    def forward(self, x, mask):\n        ...\n",
        "    def forward(self, x): ...\n",
        "    def forward(\n        self, x\n    ):\n        ...\n",
        "    def forward(self, x):\n        if x:\n            ...\n",
        "    def forward(self, x):\n        for y in x: ...\n",
        "    def added(self):\n        y = 1\n        ...\n",
        "    ...\n",
        "    def added(self): ...\n    ...\n",
        "    )\n    ...\n",
    ],
)
def test_three_dots_elsewhere_stand_for_what_was_there(replace: str) -> None:
    assert elision([Edit(search=SEARCH, replace=replace)]) is not None


def test_of_a_line_that_stood_twice_one_may_be_gone() -> None:
    error = elision([Edit(search="step()\nstep()\n", replace="step()\n# ...\n")])
    assert error is not None
    assert "would be gone:\nstep()\nWrite" in error


def test_only_so_many_lines_of_what_would_go_are_shown() -> None:
    for count, more in ((8, False), (9, True)):
        search = "".join(f"line_{number} = {'x' * 300}\n" for number in range(count))
        error = elision([Edit(search=search, replace="# ...\n")])
        assert error is not None
        lines = error.split("\n")
        assert ("…" in lines) is more
        assert len(lines) == 10 + more
        assert {len(line) for line in lines[1:9]} == {200}


def test_an_answer_that_leaves_code_out_has_no_edits() -> None:
    body = SOURCE[SOURCE.index("    model =") : SOURCE.index("    run.save")]
    draft = read_answer(
        answer_with_edit(body, "    model = None\n    # ... rest unchanged ...\n"), "stop", SOURCE
    )
    assert draft.error is not None
    assert "leaves code out" in draft.error
    assert (draft.edits, draft.source) == ((), "")
    written = read_answer(answer_with_edit(body, "    model = None\n"), "stop", SOURCE)
    assert written.error is None

"""Whose mistake each error is: what a person mends, and what another try may."""

import pytest

from nightlab import errors

PARENTS = {
    "NightlabError": "Exception",
    "UsageError": "NightlabError",
    "CorpusError": "UsageError",
    "SandboxUnavailable": "UsageError",
    "LibraryIncomplete": "SandboxUnavailable",
    "GpuUnusable": "SandboxUnavailable",
    "StudyBusy": "UsageError",
    "MachineryError": "NightlabError",
    "LedgerError": "MachineryError",
    "RemoteError": "MachineryError",
    "TrackingError": "MachineryError",
    "SandboxError": "MachineryError",
    "MachineBusy": "SandboxError",
    "EvaluationError": "MachineryError",
    "ModelError": "MachineryError",
    "ModelRefused": "ModelError",
    "BudgetReached": "ModelError",
}


@pytest.mark.parametrize(("name", "parent"), PARENTS.items())
def test_an_error_is_of_its_kind_and_of_no_other(name: str, parent: str) -> None:
    kind = getattr(errors, name)
    assert [each.__name__ for each in kind.__bases__] == [parent]
    assert kind.__doc__


@pytest.mark.parametrize("name", PARENTS)
def test_its_message_is_the_sentence_it_was_given(name: str) -> None:
    assert str(getattr(errors, name)("There is no room: free some.")) == (
        "There is no room: free some."
    )


def test_every_class_stands_in_the_tree_at_the_top() -> None:
    tree = errors.__doc__ or ""
    classes = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert {name for name in classes if name not in tree} == set()


@pytest.mark.parametrize("name", ["SandboxUnavailable", "LibraryIncomplete", "GpuUnusable"])
def test_a_sandbox_that_does_not_start_says_why_and_what_mends_it(name: str) -> None:
    error = getattr(errors, name)("no user namespaces", "ask for them")
    assert (error.why, error.remedy) == ("no user namespaces", "ask for them")
    assert str(error) == "no user namespaces: ask for them"
    bare = getattr(errors, name)("no user namespaces")
    assert (str(bare), bare.remedy) == ("no user namespaces", "")

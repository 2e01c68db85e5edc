import pytest

from nightlab.records.counting import counted


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (1024, "1,024 trials"), (0.5, "0.5 trials")],
)
def test_one_is_one_and_every_other_number_several(count: float, said: str) -> None:
    assert counted(count, "trial") == said


def test_what_is_said_of_one_and_of_several_may_be_any_words() -> None:
    assert counted(1, "study is", "studies are") == "1 study is"
    assert counted(3, "study is", "studies are") == "3 studies are"
    assert counted(1.0, "hour") == "1 hour"

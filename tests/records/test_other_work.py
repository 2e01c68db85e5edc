import pytest

from nightlab.records import OtherWork


@pytest.mark.parametrize(
    ("processes", "memory_mb", "busy", "sentence"),
    [
        (1, 12_288, None, "another process used 12.0 GB of this GPU when the training started"),
        (
            3,
            1_536,
            97,
            "3 other processes used 1.5 GB of this GPU when the training started, 97 % busy",
        ),
        (0, 2_048, 0, "other work used 2.0 GB of this GPU when the training started"),
        (1, None, 5, "another process used part of this GPU when the training started, 5 % busy"),
    ],
)
def test_it_is_said_for_people(
    processes: int, memory_mb: float | None, busy: float | None, sentence: str
) -> None:
    found = OtherWork(processes=processes, memory_mb=memory_mb, utilization_percent=busy)
    assert found.sentence == sentence

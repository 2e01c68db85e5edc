import math

from nightlab.records import CurvePoint
from nightlab.tracking.curves import curve_rows


def values(key: str, points: list[CurvePoint], **more: CurvePoint) -> list[tuple[int, float]]:
    return [(row.step, row.value) for row in curve_rows(points, 1_000, **more) if row.key == key]


def test_speed_is_that_since_the_last_point() -> None:
    first = CurvePoint(seconds=2.0, step=0, loss=3.0, tokens=100)
    second = CurvePoint(seconds=3.0, step=1, loss=2.5, tokens=400)
    assert values("training/tokens_per_second", [first, second]) == [(0, 50.0), (1, 300.0)]
    assert values("training/tokens_per_second", [second], previous=first) == [(1, 300.0)]


def test_time_counts_from_the_start_of_the_trial() -> None:
    rows = curve_rows([CurvePoint(seconds=1.5, step=0, loss=3.0)], 1_000)
    assert {row.timestamp_ms for row in rows} == {2_500}
    assert {row.key: row.value for row in rows} == {
        "training/elapsed_seconds": 1.5,
        "training/loss": 3.0,
    }


def test_what_no_chart_can_hold_is_left_out() -> None:
    points = [
        CurvePoint(seconds=1.0, step=-1, loss=1.0),
        CurvePoint(seconds=1.0, step=10**30, loss=1.0),
        CurvePoint(seconds=math.inf, step=1, loss=1.0),
        CurvePoint(seconds=1.0, step=2, loss=math.nan, tokens=5),
        CurvePoint(seconds=1.0, step=3, loss=1.0, tokens=2),
    ]
    assert values("training/loss", points) == [(3, 1.0)]
    assert values("training/elapsed_seconds", points) == [(2, 1.0), (3, 1.0)]
    assert values("training/tokens_per_second", points) == [(2, 5.0)]

"""What is under way, as the page shows it."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

from nightlab.records import CurvePoint, Pair, Verdict, utc_now
from nightlab.report.live import TrainingUnderWay, UnderWay, difference_bar, draw_curves
from nightlab.report.page import render_page
from nightlab.report.study import read_study
from tests.report.samples import FixedStudy, baseline, trial
from tests.report.test_page import HOSTILE, parse

PAIRS = (
    Pair(seed=5, candidate_bpb=1.8, incumbent_bpb=1.82),
    Pair(seed=6, candidate_bpb=1.83, incumbent_bpb=1.82),
)


def curve(count: int, scale: float = 1.0) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(seconds=0.2 * n, step=n, loss=scale * 8 / (n + 1), tokens=500 * n)
        for n in range(count)
    )


def training(**changed: object) -> TrainingUnderWay:
    values: dict[str, object] = {
        "seed": 7,
        "whose": "",
        "name": "candidate",
        "stage": "training",
        "budget_seconds": 20.0,
        "budget_tokens": None,
        "points": curve(50),
    }
    return TrainingUnderWay(**(values | changed))  # type: ignore[arg-type]


def under_way(**changed: object) -> UnderWay:
    values: dict[str, object] = {
        "number": 3,
        "step": "train",
        "title": "Deeper",
        "detail": "",
        "seconds": 4.0,
        "trainings": (training(), training(whose="incumbent", points=curve(40))),
        "twins": {},
        "pairs": PAIRS,
        "probability_better": 0.8,
        "needed": 0.9,
        "written_at": utc_now(),
    }
    return UnderWay(**(values | changed))  # type: ignore[arg-type]


def render(shown: UnderWay) -> str:
    records = [baseline(), trial(1, Verdict.KEEP, (1.9,), difference=-0.1)]
    page = render_page(read_study(FixedStudy(all_records=records)), {}, shown)
    parse(page)
    return page


def test_the_page_shows_two_trainings_their_curves_and_the_pairs() -> None:
    page = render(under_way())
    for expected in ("trial 3 · train", "Deeper", "10 of 20 s", "80 %", "kept from 90 %"):
        assert expected in page
    assert page.count('class="curve own"') == page.count('class="curve twin"') == 1
    assert "10 of 20 s, loss 0.160, 2,500 tokens/s" in page
    assert page.index('id="under-way"') < page.index('class="staircase"')
    assert "location.reload" in page
    assert "http" not in page.replace('http-equiv="Content', "").replace('startsWith("http', "")


def test_a_finished_twin_is_drawn_beside_the_training_that_follows_it() -> None:
    page = render(under_way(trainings=(training(),), twins={7: curve(90)}))
    assert page.count('class="curve twin"') == 1
    tokens = training(budget_tokens=100_000)
    bare = tuple(point.model_copy(update={"tokens": None}) for point in curve(90))
    assert 'class="curve twin"' in render(under_way(trainings=(tokens,), twins={7: bare}))
    alone = render(under_way(trainings=(training(),), twins={8: curve(90)}))
    assert 'class="curve twin"' not in alone


def test_what_people_and_models_wrote_is_text() -> None:
    page = render(under_way(title=HOSTILE, notice=HOSTILE, trainings=(training(name=HOSTILE),)))
    assert "<img" not in page
    assert page.count("<script>") == 1


def test_a_training_says_where_it_stands() -> None:
    assert training(stage="starting up", budget_seconds=None, points=()).told == "starting up"
    assert training(stage="starting up", budget_seconds=None, points=()).share is None
    assert training(points=()).share == 0
    tokens = training(budget_tokens=100_000)
    assert tokens.told.startswith("24,500 of 100,000 tokens")
    assert tokens.share == 0.245
    assert training(budget_seconds=5.0).share == 1.0


def test_numbers_that_no_chart_holds_are_left_out() -> None:
    wild = [
        CurvePoint(seconds=float(n), step=n, loss=loss)
        for n, loss in enumerate((1e308, -1e308, 3.0, None, 2.0), start=2)
    ]
    svg = draw_curves([training(points=tuple(wild))], ())
    ElementTree.fromstring(svg)
    assert "inf" not in svg.replace("inform", "")
    assert "nan" not in svg
    assert draw_curves([training(points=())], ()) == ""


def test_a_bar_lies_left_where_the_candidate_is_better() -> None:
    better, worse = (difference_bar(pair, PAIRS) for pair in PAIRS)
    assert 'x="2.0"' in better
    assert 'class="better"' in better
    assert 'x="50.0"' in worse
    same = replace_pair(0.0)
    assert 'width="0.0"' in difference_bar(same, (same,))


def replace_pair(difference: float) -> Pair:
    return Pair(seed=1, candidate_bpb=1.8 + difference, incumbent_bpb=1.8)


def test_a_session_that_has_just_begun_has_its_page() -> None:
    shown = replace(under_way(), number=None, step="corpus", trainings=(), pairs=())
    page = render_page(read_study(FixedStudy()), {}, shown)
    parse(page)
    assert "First the baseline" in page
    assert 'class="staircase"' not in page
    assert "session · corpus" in page

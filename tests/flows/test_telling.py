"""What Prefect's feed is told of a change that was kept."""

from collections.abc import Iterator

import pytest
from prefect.events import Event
from prefect.events.clients import AssertingEventsClient
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.telling import News, ended, tell_kept
from nightlab.records import Approval, Reason, Verdict
from tests.samples import sample_record

PAGE = "http://127.0.0.1:5000/#/experiments/1"


@pytest.fixture
def feed(monkeypatch: pytest.MonkeyPatch) -> Iterator[EventsWorker]:
    """Prefect's own worker of events, which keeps what it would send."""
    AssertingEventsClient.reset()
    worker = EventsWorker.instance(AssertingEventsClient)
    monkeypatch.setattr(EventsWorker, "instance", lambda *_: worker)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield worker


def heard(feed: EventsWorker) -> list[Event]:
    feed.drain()
    return [event for client in AssertingEventsClient.all for event in client.events]


def test_a_keep_is_told_with_what_a_person_needs(feed: EventsWorker) -> None:
    tell_kept(sample_record(3, verdict=Verdict.KEEP, reason=Reason.IMPROVED), PAGE)
    (event,) = heard(feed)
    assert event.event == News.KEPT
    assert (event.payload["trial"], event.payload["links"]) == (3, {"mlflow": PAGE})
    assert event.payload["sentence"].startswith(f"Study {event.payload['study']}, trial 3, ")
    assert any("prefect.tag.nightlab" in each.id for each in event.related)


def test_a_keep_that_waits_is_told_twice(feed: EventsWorker) -> None:
    record = sample_record(3, verdict=Verdict.KEEP, reason=Reason.IMPROVED)
    tell_kept(record.model_copy(update={"approval": Approval.WAITS}), PAGE)
    kept, waits = heard(feed)
    assert (kept.event, waits.event) == (News.KEPT, News.AWAITS_APPROVAL)
    assert f"nightlab approve {record.study} 3" in waits.payload["sentence"]
    assert "approve" not in kept.payload["sentence"]


def test_no_key_and_no_empty_sentence_is_told(
    feed: EventsWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-0123456789abcdefghijklmnop")
    ended("night", None, "it said sk-proj-0123456789abcdefghijklmnop", gain_bpb=0.1)
    ended("night", None, "")
    said, stopped = (event.payload["sentence"] for event in heard(feed))
    assert "0123456789abcdef" not in said
    assert "goes on with it" in stopped

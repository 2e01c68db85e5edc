from nightlab import events


def test_listeners_hear_events_only_while_they_listen() -> None:
    heard: list[events.Event] = []
    before, during = events.Notice(text="before"), events.Notice(text="during")
    events.publish(before)
    with events.listening(heard.append):
        events.publish(during)
    events.publish(before)
    assert heard == [during]

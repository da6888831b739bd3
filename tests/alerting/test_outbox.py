"""Letters to a receiver that is slow, gone, or refuses: what waits, what goes first, what ends."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.alerting.decide import Told
from controller.alerting.message import Message
from controller.alerting.outbox import (
    LASTS_S,
    MOST,
    TRIES,
    Outbox,
    as_sent,
    not_answered,
    put,
    refused,
    taken,
    without_old,
)
from controller.alerting.saved import Ledger, from_json, to_json
from tests.alerting.test_decide import down


def message(number: int, at: float = 0.0) -> Message:
    """Return one of many messages."""
    return Message(f"id-{number}", "ops", at, "page", "firing", f"PAGE: {number}", "text", "lab")


def filled(count: int) -> Outbox:
    """Return an outbox in which so many wait."""
    box = Outbox()
    for number in range(count):
        box = put(box, message(number))
    return box


def test_an_hour_without_an_answer_costs_few_tries_and_loses_nothing() -> None:
    box, tries, now = filled(12), 0, 0.0
    while now < 3600.0:
        letter = box.due(now)
        assert letter is not None
        assert letter.message.id == "id-0"
        box, tries = not_answered(box, letter, "it is down", now, perhaps=False), tries + 1
        now = box.next_due() or 0.0
    assert tries < 30
    assert len(box.letters) == 12
    assert "it is down; so since 1970-01-01 00:00:00 UTC; 12 messages wait" in box.sentence()
    while (letter := box.due(now)) is not None:
        assert as_sent(letter, box, now).text.startswith("Late: this was written 1h00m")
        box = taken(box, letter, "", now)
    assert (box.letters, box.sentence(), box.is_bad) == ((), "", False)


def test_one_that_is_refused_lets_others_pass_and_is_tried_again() -> None:
    box = filled(2)
    first = box.due(0.0)
    assert first is not None
    box = refused(box, first, "it says 400", 0.0)
    second = box.due(0.0)
    assert second is not None
    assert second.message.id == "id-1"
    box = taken(box, second, "", 1.0)
    again = box.due(10.0)
    assert again is not None
    assert (again.message.id, box.due(1.0)) == ("id-0", None)


def test_one_that_may_have_arrived_is_not_sent_for_ever() -> None:
    box, now = filled(1), 0.0
    for _ in range(TRIES):
        letter = box.due(now)
        assert letter is not None
        box = not_answered(box, letter, "it did not answer", now, perhaps=True)
        now += 1000.0
    assert (box.letters, box.lost) == ((), 1)
    assert "one message was given up" in box.sentence()


def test_what_is_too_much_or_too_old_is_given_up_and_that_is_said_in_the_next() -> None:
    box = filled(MOST + 3)
    assert (len(box.letters), box.lost, box.letters[0].message.id) == (MOST, 3, "id-3")
    box = without_old(put(box, message(99, LASTS_S)), LASTS_S + 1)
    assert ([one.message.id for one in box.letters], box.lost) == (["id-99"], MOST + 3)
    assert f"Before it {MOST + 3} messages could not be sent" in as_sent(
        box.letters[0], box, LASTS_S).text


@given(st.lists(st.sampled_from(["put", "taken", "refused", "silent", "perhaps", "wait"]),
                max_size=200))
def test_whatever_happens_nothing_waits_without_end_or_without_count(events: list[str]) -> None:
    box, now, written, arrived = Outbox(), 0.0, 0, 0
    told_lost = 0
    for event in events:
        now += 4000.0 if event == "wait" else 1.0
        box = without_old(box, now)
        letter = box.due(now)
        if event == "put":
            box, written = put(box, message(written, now)), written + 1
        elif letter is not None and event == "taken":
            told_lost, arrived = told_lost + box.lost, arrived + 1
            box = taken(box, letter, "", now)
        elif letter is not None and event == "refused":
            box = refused(box, letter, "no", now)
        elif letter is not None and event in {"silent", "perhaps"}:
            box = not_answered(box, letter, "", now, perhaps=event == "perhaps")
        assert len(box.letters) <= MOST
        assert written == arrived + len(box.letters) + box.lost + told_lost
        assert from_json(to_json(Ledger({}, box)), now).outbox.letters == tuple(
            replace(one, not_before=min(one.not_before, now)) for one in box.letters)


def test_what_was_saved_is_read_and_what_is_broken_is_forgotten() -> None:
    row = Told(down("web"), 5.0, ("page",), 40.0, None, 2)
    ledger = Ledger({row.alert.key: row}, put(Outbox(), message(1)))
    assert from_json(to_json(ledger), 100.0) == ledger
    early = from_json(to_json(ledger), 10.0)
    assert early.history[row.alert.key].told_at == 10.0
    for broken in (None, [], {}, {"history": [{}], "outbox": {}}, {"history": 3, "outbox": {}}):
        assert from_json(broken, 0.0) == Ledger()

"""What happens in a simulation: words of a person, and what is wrong with them."""

from dataclasses import replace

import pytest

from controller.errors import SpecError
from controller.model.units import parse_instant_at
from controller.reconcile.simulation.happenings import (
    Happening,
    every_loss,
    happenings_of,
    parse_when,
)
from tests.plan import builders as b

NOON = parse_instant_at("2026-12-01T12:00:00Z")
HOUR = 3600.0


def problems(*words: str, hours: float = 24.0) -> tuple[str, ...]:
    with pytest.raises(SpecError) as error:
        happenings_of(words, b.small(), NOON, hours)
    return error.value.problems


@pytest.mark.parametrize(("text", "after_s"), [
    ("22:00", 10 * HOUR), ("12:00", 0.0), ("11:59", 24 * HOUR - 60), ("+90m", 1.5 * HOUR),
    ("2026-12-01T13:00:00Z", HOUR)])
def test_an_instant_is_the_next_of_that_time_or_counted_or_written_out(text: str,
                                                                       after_s: float) -> None:
    assert parse_when(text, NOON) == NOON + after_s


def test_things_happen_in_the_order_of_time_whatever_the_order_of_the_words() -> None:
    words = ("site=paris:back@+5h", "host=milan-2:lost@+3h", "site=paris:lost@+2h")
    assert happenings_of(words, b.small(), NOON, 24) == [
        Happening(NOON + 2 * HOUR, "Site/paris", "lost"),
        Happening(NOON + 3 * HOUR, "Host/milan-2", "lost"),
        Happening(NOON + 5 * HOUR, "Site/paris", "back")]


@pytest.mark.parametrize(("word", "said"), [
    ("site=rome:lost@22:00", "no site rome is declared: there are milan, paris"),
    ("host=paris:lost@22:00", "no host paris is declared"),
    ("site=paris:gone@22:00", "it is not understood: write site=NAME:lost@22:00"),
    ("site=paris:lost", "it is not understood"),
    ("site=paris:lost@25:00", "25:00"),
    ("site=paris:lost@+soon", "soon"),
    ("site=paris:lost@+-3h", "-3h"),
    ("site=paris:lost@2026-12-01T11:00:00Z", "is over: the simulation begins at"),
    ("site=paris:lost@+25h", "is after the end, 24 hours from"),
    ("site=paris:back@+1h", "cannot be back at"),
])
def test_words_that_cannot_happen_are_named(word: str, said: str) -> None:
    (problem,) = problems(word)
    assert said in problem


def test_every_wrong_word_is_named_at_once_and_nothing_is_lost_twice() -> None:
    assert len(problems("site=rome:lost@22:00", "host=rome-1:lost@22:00")) == 2
    (twice,) = problems("site=paris:lost@+1h", "site=paris:lost@+2h")
    assert "it is lost already" in twice


def test_without_words_each_site_and_host_is_lost_once_within_the_hours() -> None:
    found = every_loss(b.small(), NOON, 24, seed=3)
    assert {one.target for one in found} == {
        "Site/paris", "Site/milan", "Host/paris-1", "Host/paris-2", "Host/milan-1",
        "Host/milan-2"}
    assert all(NOON < one.at < NOON + 24 * HOUR for one in found)
    assert found == every_loss(b.small(), NOON, 24, seed=3)
    assert found != every_loss(b.small(), NOON, 24, seed=4)
    assert len(every_loss(replace(b.small(), hosts={}), NOON, 24, seed=1)) == 2

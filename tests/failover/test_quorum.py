"""Whose word counts, and what is our own link."""

from dataclasses import replace

import pytest

from controller.failover.quorum import (
    agreeing,
    agreement,
    heard_by_others,
    missing,
    own_link,
    still_heard,
)
from controller.failover.situation import Situation, View
from tests.failover.builders import MILAN, PARIS, host, lost, witness

GONE = witness(PARIS)


def paris(situation: Situation) -> tuple[object, ...]:
    """The hosts of paris."""
    return tuple(situation.hosts[name] for name in PARIS)


@pytest.mark.parametrize(("views", "place", "places"), [
    ((GONE,), "milan", ("hq", "milan")),
    ((GONE,), "hq", ("hq",)),                                           # one machine, one view
    ((replace(GONE, place="milan"),), "milan", ("milan",)),             # inside a site
    ((replace(GONE, place="paris"),), "milan", ("milan", "paris")),
    ((replace(GONE, age_s=None),), "milan", ("milan",)),                # silent
    ((replace(GONE, age_s=16.0),), "milan", ("milan",)),                # late
    ((replace(GONE, listening_s=14.0),), "milan", ("milan",)),          # restarted a moment ago
    ((replace(GONE, place=None),), "milan", ("milan",)),
    ((GONE,), None, ("hq",)),
    ((GONE, replace(GONE, by="rome-w", place="rome")), None, ("hq", "rome")),
    ((), "milan", ("milan",)),
])
def test_places_are_counted_and_silence_is_no_agreement(
        views: tuple[View, ...], place: str | None, places: tuple[str, ...]) -> None:
    situation = lost(views=views, place=place)
    assert agreeing(paris(situation), situation) == places
    assert (agreement(paris(situation), situation) is None) is (len(places) < 2)


def test_of_two_witnesses_that_disagree_the_one_that_hears_counts() -> None:
    other = witness(("paris-1",), by="rome-w", place="rome")
    situation = lost(views=(GONE, other))
    assert agreement(paris(situation), situation) is None
    told = heard_by_others(paris(situation), situation)
    assert told is not None
    assert told.why == "rome-w still hears paris-2"


def test_a_late_view_denies_nothing() -> None:
    situation = lost(views=(GONE, witness((), by="rome-w", place="rome", age_s=20.0)))
    assert agreement(paris(situation), situation) is not None


@pytest.mark.parametrize(("views", "place", "why"), [
    ((), "milan", "no witness is declared"),
    ((replace(GONE, age_s=None),), "milan", "hq is silent, which is no agreement"),
    ((replace(GONE, listening_s=1.0),), "milan", "hq started too short a time ago to know"),
    ((replace(GONE, deaf_to=frozenset({"paris-1"})),), "milan",
     "hq was never asked by paris-1, and cannot miss it"),
    ((GONE,), None, "nobody knows at which place this controller stands"),
    ((replace(GONE, place="milan"),), "milan",
     "only milan can tell, and a witness there is no second place"),
])
def test_what_is_missing_is_named(views: tuple[View, ...], place: str | None, why: str) -> None:
    situation = lost(views=views, place=place)
    assert missing(paris(situation), situation).why == why


@pytest.mark.parametrize(("names", "ours"), [
    ((*PARIS, *MILAN), True), (PARIS, False), (("paris-1", "milan-1"), False),
    ((*PARIS, "milan-1"), False)])
def test_our_own_link_is_suspected_when_most_of_every_site_is_silent(
        names: tuple[str, ...], *, ours: bool) -> None:
    assert (own_link(lost(*names)) is not None) is ours


def test_hosts_in_maintenance_count_for_nothing() -> None:
    situation = lost(*PARIS, "milan-1", hosts={"milan-2": host("milan-2", maintenance=True)})
    assert own_link(situation) is not None


@pytest.mark.parametrize(("heard_s", "age_s", "silent_s", "still"), [
    (0.0, 1.0, 20.0, True), (0.0, 10.0, 15.1, True),
    (0.0, 10.0, 15.0, False),       # it said so when the host had only just fallen silent
    (6.0, 1.0, 60.0, False),        # it heard it after us, and does not any more
    (0.0, 16.0, 60.0, False)])
def test_only_who_hears_a_host_that_is_silent_to_us_makes_our_link_suspect(
        heard_s: float, age_s: float, silent_s: float, *, still: bool) -> None:
    view = witness(heard_s={"paris-1": heard_s}, age_s=age_s)
    found = lost("paris-1", hosts={"paris-1": host("paris-1", silent_s)}, views=(view,))
    assert (still_heard((found.hosts["paris-1"],), found) is not None) is still


def test_a_witness_that_has_not_missed_a_host_yet_is_waited_for() -> None:
    view = witness(heard_s={"paris-1": 9.0})
    found = lost("paris-1", views=(view,))
    told = missing((found.hosts["paris-1"],), found)
    assert told.why == "hq heard paris-1 too short a time ago to miss it"
    assert agreement((found.hosts["paris-1"],), found) is None

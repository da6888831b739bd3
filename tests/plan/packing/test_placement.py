"""Placement: hard memory, a ratio for CPUs, groups, pins, sites, and the fewest moves."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.packing.placement import arrange
from controller.plan.packing.problem import Limits, PlaceHost, PlaceMachine, Placement
from tests.plan.arranging import balance, place

GIB = 1 << 30


def host(name: str, memory: int = 10, cpus: int = 100, site: str = "paris",
         accepts: bool = True, drains: bool = False) -> PlaceHost:
    return PlaceHost(name, site, memory, cpus, accepts, drains, frozenset({"default"}))


def test_what_is_well_stays_however_uneven_it_is() -> None:
    machines = [PlaceMachine(f"m{i}", 1) for i in range(8)]
    current = {machine.name: "a" for machine in machines}
    assert place([host("a"), host("b")], machines, current).moves == ()


def test_new_machines_go_where_most_is_free() -> None:
    found = place([host("a"), host("b"), host("c", 20)],
                  [PlaceMachine("old", 4), PlaceMachine("new", 2)], {"old": "a"})
    assert found.assignments == {"old": "a", "new": "c"}


def test_a_full_host_loses_the_one_machine_that_is_enough() -> None:
    machines = [PlaceMachine("big", 6), PlaceMachine("mid", 4), PlaceMachine("low", 2)]
    found = place([host("a"), host("b")], machines, dict.fromkeys(("big", "mid", "low"), "a"))
    assert [(one.machine, one.target) for one in found.moves] == [("low", "b")]
    assert found.moves[0].why == "a has more on it than its memory holds"


def test_a_drained_host_is_emptied() -> None:
    machines = [PlaceMachine(f"m{i}", 1) for i in range(4)]
    found = place([host("a", drains=True, accepts=False), host("b"), host("c")], machines,
                  dict.fromkeys((one.name for one in machines), "a"))
    assert sorted(found.assignments.values()) == ["b", "b", "c", "c"]


def test_a_pin_and_a_site_are_kept_to() -> None:
    hosts = [host("a"), host("b"), host("m", site="milan")]
    machines = [PlaceMachine("pinned", 1, host="b"), PlaceMachine("far", 1, sites=("milan",))]
    found = place(hosts, machines, {"pinned": "a", "far": "a"})
    assert found.assignments == {"pinned": "b", "far": "m"}
    assert [one.why for one in found.moves] == ["it belongs at milan", "it is pinned to b"]


def test_two_of_a_group_never_share_a_host() -> None:
    machines = [PlaceMachine(name, 1, groups=("db",)) for name in ("x", "y", "z")]
    found = place([host("a"), host("b")], machines, {"x": "a", "y": "a"})
    assert found.assignments == {"x": "a", "y": "b"}
    assert [one.machine for one in found.unplaced] == ["z"]
    assert "has another of its group (db)" in found.unplaced[0].sentence


def test_one_machine_moves_aside_where_that_makes_the_room() -> None:
    machines = [PlaceMachine("wide", 8), PlaceMachine("one", 3), PlaceMachine("two", 3)]
    found = place([host("a"), host("b")], machines, {"one": "a", "two": "b"})
    assert [(one.machine, one.source, one.target) for one in found.moves] == [("one", "a", "b")]
    assert found.assignments["wide"] == "a"
    assert found.moves[0].why == "it makes room for wide on a"


def test_a_host_where_nothing_could_be_moved_aside_is_still_chosen() -> None:
    hosts = [host("a", 10), host("b", 11)._replace(offers=frozenset({"fast"}))]
    machines = [PlaceMachine("wide", 8), PlaceMachine("one", 5),
                PlaceMachine("two", 5, needs=("fast",))]
    found = place(hosts, machines, {"one": "a", "two": "b"})
    assert found.assignments == {"wide": "a", "one": "b", "two": "b"}


def test_what_has_no_room_is_not_sought_room_for_again_and_again() -> None:
    asked = []

    def demand(name: str) -> tuple[str, tuple[tuple[str, int], ...]]:
        asked.append(name)
        return "", ()

    hosts = [host(f"h{i:02}", 8) for i in range(40)]
    hosts += [host(f"x{i}", 1000, accepts=False, drains=True) for i in range(2)]
    machines = [PlaceMachine(f"full-{i:02}", 4) for i in range(80)]
    machines += [PlaceMachine(f"waits-{i:03}", 4 + i % 3) for i in range(300)]
    current = {one.name: f"h{i // 2:02}" for i, one in enumerate(machines[:80])}
    current |= {one.name: f"x{i % 2}" for i, one in enumerate(machines[80:])}
    found = arrange(tuple(hosts), machines, current, Limits(), demand)[1]
    assert len(found.unplaced) == 300
    assert len(asked) < 5 * len(machines)


def test_the_room_of_a_running_machine_is_not_given_away_before_it_has_left() -> None:
    hosts = [host("a", 8), host("b", 10)]
    machines = [PlaceMachine("wide", 8, host="b"), PlaceMachine("low", 3)]
    found = place(hosts, machines, {"wide": "a", "low": "b"})
    assert found.moves == ()
    assert [one.machine for one in found.unplaced] == ["wide"]


@pytest.mark.parametrize(("machine", "words"), [
    (PlaceMachine("m", 11 * GIB), "the most that is free on one is 10 GiB"),
    (PlaceMachine("m", 1, cpus=900), "the CPUs of every host of the estate"),
    (PlaceMachine("m", 1, sites=("oslo",)), "no host of oslo takes machines now"),
    (PlaceMachine("m", 1, needs=("fast",)), "no host of the estate has the pools fast"),
    (PlaceMachine("m", 1, host="gone"), "pinned to gone, which takes nothing now"),
    (PlaceMachine("m", 11 * GIB, host="a"), "pinned to a, which has no room for 11 GiB"),
])
def test_what_has_no_place_says_why(machine: PlaceMachine, words: str) -> None:
    found = place([host("a", 10 * GIB)], [machine], {})
    assert words in found.unplaced[0].sentence


def test_a_machine_that_cannot_move_keeps_its_reservation() -> None:
    machines = [PlaceMachine("last-seen", 8, fixed=True), PlaceMachine("new", 4)]
    found = place([host("a", accepts=False), host("b", 4)], machines, {"last-seen": "a"})
    assert found.assignments == {"last-seen": "a", "new": "b"}


def test_cpus_are_given_out_up_to_the_ratio() -> None:
    machines = [PlaceMachine(f"m{i}", 1, cpus=4) for i in range(5)]
    found = place([host("a", 100, 4)], machines, {}, Limits(4.0))
    assert len(found.unplaced) == 1


@st.composite
def estates(draw: st.DrawFn) -> tuple[list[PlaceHost], list[PlaceMachine], dict[str, str]]:
    names = [f"h{i}" for i in range(draw(st.integers(2, 6)))]
    drained = {name for name in names[1:] if draw(st.integers(0, 9)) == 0}
    hosts = [host(name, draw(st.integers(4, 20)), 100, draw(st.sampled_from(["p", "m"])),
                  (draw(st.booleans()) or i == 0) and name not in drained, name in drained)
             for i, name in enumerate(names)]
    machines, current = [], {}
    for i in range(draw(st.integers(0, 14))):
        machine = PlaceMachine(
            f"m{i}", draw(st.integers(1, 6)), 1,
            draw(st.sampled_from([(), (), ("p",), ("m",)])),
            draw(st.sampled_from([None, None, None, *names])),
            draw(st.sampled_from([(), (), ("g",)])), (), draw(st.integers(0, 7)) == 0)
        machines.append(machine)
        where = draw(st.sampled_from([None, *names]))
        if where is not None:
            current[machine.name] = where
    return hosts, machines, current


def check(hosts: list[PlaceHost], machines: list[PlaceMachine], current: dict[str, str],
          found: Placement) -> None:
    """Hold the rules against a placement."""
    by_name = {one.name: one for one in hosts}
    arrived = {name for name, at in found.assignments.items() if current.get(name) != at}
    for one in machines:
        at = found.assignments.get(one.name)
        assert at is not None or one.name in {each.machine for each in found.unplaced}
        if one.name not in arrived or at is None:
            continue
        assert not one.fixed or one.name not in current
        assert by_name[at].accepts
        assert one.host in {None, at}
        assert one.host is not None or not one.sites or by_name[at].site in one.sites
    for name, here in by_name.items():
        on = [one for one in machines if found.assignments.get(one.name) == name]
        if arrived & {one.name for one in on}:
            assert sum(one.memory_bytes for one in on) <= here.memory_bytes
            groups = [group for one in on for group in one.groups if one.name in arrived]
            others = [group for one in on for group in one.groups if one.name not in arrived]
            assert len(groups) == len(set(groups))
            assert not set(groups) & set(others)  # nobody is sent to one of its own group


@given(estates())
@settings(max_examples=400, deadline=None)
def test_whatever_the_estate_the_rules_are_kept(
        case: tuple[list[PlaceHost], list[PlaceMachine], dict[str, str]]) -> None:
    hosts, machines, current = case
    check(hosts, machines, current, place(hosts, machines, current))


@given(estates(), st.randoms())
@settings(max_examples=100, deadline=None)
def test_the_answer_does_not_depend_on_the_order_of_the_question(
        case: tuple[list[PlaceHost], list[PlaceMachine], dict[str, str]],
        dice: random.Random) -> None:
    hosts, machines, current = case
    first = place(hosts, machines, current)
    items = list(current.items())
    for each in (hosts, machines, items):
        dice.shuffle(each)
    assert place(hosts, machines, dict(items)) == first


@given(estates())
@settings(max_examples=200, deadline=None)
def test_a_placement_that_is_carried_out_is_final(
        case: tuple[list[PlaceHost], list[PlaceMachine], dict[str, str]]) -> None:
    hosts, machines, current = case
    found = place(hosts, machines, current)
    if found.unplaced:
        return
    again = place(hosts, machines, dict(found.assignments))
    assert again.moves == ()


def test_the_rules_catch_a_planted_violation() -> None:
    hosts, machines = [host("a", 4), host("b", 4)], [PlaceMachine("x", 3), PlaceMachine("y", 3)]
    with pytest.raises(AssertionError):
        check(hosts, machines, {"x": "a"}, Placement({"x": "a", "y": "a"}, (), ()))
    with pytest.raises(AssertionError):
        check(hosts, machines, {"x": "a"}, Placement({"x": "a"}, (), ()))


def test_a_large_estate_is_filled_evenly_and_repaired_with_the_least_moves() -> None:
    dice = random.Random(7)
    hosts = [PlaceHost(f"h{i:03d}", "p", 128 * GIB, 32) for i in range(50)]
    machines = [PlaceMachine(f"m{i:04d}", dice.choice([1, 2, 4, 8]) * GIB, dice.choice([1, 2, 4]))
                for i in range(1000)]
    full = place(hosts, machines, {})
    assert full.unplaced == ()
    assert balance(hosts, machines, full.assignments).memory < 0.01
    there = {name for name, at in full.assignments.items() if at == "h007"}
    rest = [one._replace(accepts=False, drains=one.name == "h007") if one.name == "h007" else one
            for one in hosts]
    repair = place(rest, machines, full.assignments)
    assert {one.machine for one in repair.moves} == there
    assert balance(rest, machines, repair.assignments).memory < 0.02

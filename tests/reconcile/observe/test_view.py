"""The view: silence keeps the last facts, news is told from noise, and old facts are not fresh."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import (
    Absent,
    DomainConfig,
    DomainFacts,
    DomainState,
    Fact,
    Hardware,
    InterfaceFacts,
    Known,
    NodeFacts,
    Unknown,
)
from controller.model.failover.capabilities import Capabilities
from controller.reconcile.observe.last_seen import (
    load_seen,
    parse_facts,
    render_facts,
    save_fact,
    save_removed,
)
from controller.reconcile.observe.view import View
from controller.store.store import Store

CONFIG = DomainConfig(1 << 30, 1 << 30, 1, 1, (), ())
WEB = DomainFacts("web", "u-1", DomainState.RUNNING, "booted", persistent=True, autostart=False,
                  live=CONFIG, config=CONFIG)


def facts(at: float, **parts: object) -> NodeFacts:
    """Return what a host says."""
    hardware = Known(Hardware(8, 1 << 34, 1 << 33, at / 100, "x86_64"), at)
    node = NodeFacts("paris-1", "boot-1", at / 1000, hardware, {"qemu": "7.2"},
                     Known({"web": WEB}, at), Known({}, at), Absent(at))
    return replace(node, **parts)


class Hands:
    """A clock that is set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        """Return the instant."""
        return self.now_s


@pytest.fixture
def clock() -> Hands:
    """Return a clock."""
    return Hands()


@pytest.fixture
def view(clock: Hands) -> View:
    """Return a view of one host that has answered."""
    view = View(clock)
    view.declare(["paris-1"])
    view.put("paris-1", Known(facts(100.0), 100.0), 100.0)
    return view


def test_a_node_that_was_never_looked_at_is_unknown_and_remembers_its_last_life(
        clock: Hands) -> None:
    view = View(clock)
    view.remember({"paris-1": Known(facts(5.0), 5.0)})
    view.declare(["paris-1", "milan-1"])
    match view.fact("paris-1"), view.fact("milan-1"):
        case Unknown(last=NodeFacts(), last_at=5.0), Unknown(last=None):
            pass
        case other:
            pytest.fail(f"{other}")


def test_what_moves_all_the_time_is_no_news(view: View) -> None:
    assert not view.put("paris-1", Known(facts(110.0), 110.0), 110.0)
    assert view.version_of("paris-1") < view.version + 1


@pytest.mark.parametrize("parts", [
    {"boot_id": "boot-2"}, {"domains": Known({}, 110.0)}, {"versions": {}},
    {"pools": Unknown("libvirtd is down", 110.0)},
    {"domains": Known({"web": replace(WEB, state=DomainState.SHUT_OFF)}, 110.0)}])
def test_what_decides_is_news(view: View, parts: dict[str, object]) -> None:
    before = view.version
    assert view.put("paris-1", Known(facts(110.0, **parts), 110.0), 110.0)
    assert view.version > before


def test_silence_remembers_what_was_seen_and_is_news_once(view: View) -> None:
    assert view.put("paris-1", Unknown("no answer", 110.0), 110.0)
    assert not view.put("paris-1", Unknown("no answer", 120.0), 120.0)
    fact: Fact[NodeFacts] = view.fact("paris-1")
    assert isinstance(fact, Unknown)
    assert (fact.last, fact.last_at) == (facts(100.0), 100.0)


def test_a_part_that_falls_silent_remembers_too(view: View) -> None:
    view.put("paris-1", Known(facts(110.0, domains=Unknown("libvirtd is down", 110.0)), 110.0),
             110.0)
    fact = view.fact("paris-1")
    assert isinstance(fact, Known)
    assert isinstance(fact.value.domains, Unknown)
    assert fact.value.domains.last == {"web": WEB}


def test_a_look_is_fresh_until_time_or_an_event_makes_it_old(view: View, clock: Hands) -> None:
    assert view.fresh("paris-1", 1.0)
    clock.now_s = 100.5
    view.mark_stale("paris-1")
    assert not view.fresh("paris-1", 1.0)
    view.put("paris-1", Known(facts(100.6), 100.6), 100.6)
    clock.now_s = 101.0
    assert view.fresh("paris-1", 1.0)
    clock.now_s = 101.7
    assert not view.fresh("paris-1", 1.0)


def test_a_look_that_began_before_an_event_is_not_fresh_after_it(view: View,
                                                                 clock: Hands) -> None:
    clock.now_s = 100.5
    view.mark_stale("paris-1")
    view.put("paris-1", Known(facts(100.6), 100.6), 100.4)
    assert not view.fresh("paris-1", 1.0)


def test_an_act_makes_a_look_old_however_slow_it_was_and_an_event_does_not(
        view: View, clock: Hands) -> None:
    assert not view.acted_since("paris-1")
    clock.now_s = 100.5
    view.mark_stale("paris-1")
    assert view.acted_since("paris-1")
    view.put("paris-1", Known(facts(120.0), 120.0), 100.4)
    assert view.acted_since("paris-1")      # that look began before
    view.put("paris-1", Known(facts(120.0), 120.0), 100.6)
    view.mark_heard("paris-1")
    assert not view.acted_since("paris-1")


@pytest.mark.parametrize("value", [
    facts(1.0), facts(1.0, hardware=Unknown("?", 1.0), domains=Absent(1.0)),
    facts(1.0, domains=Unknown("?", 1.0, {"web": WEB}, 0.5))])
def test_facts_survive_being_written_down(value: NodeFacts) -> None:
    assert parse_facts(render_facts(value)) == value


def test_facts_of_another_version_are_left_out() -> None:
    store = Store.open(":memory:")
    save_fact(store, "paris-1", Known(facts(7.0), 7.0))
    store.save_seen("milan-1", '{"name": "milan-1"}', 7.0)
    assert load_seen(store) == {"paris-1": Known(facts(7.0), 7.0)}


def test_an_event_right_after_a_look_began_may_belong_to_what_it_saw(view: View,
                                                                     clock: Hands) -> None:
    clock.now_s = 100.3
    view.mark_heard("paris-1")
    assert not view.fresh("paris-1", 1.0)
    assert view.fresh("paris-1", 1.0, burst_s=0.5)
    clock.now_s = 100.6
    view.mark_heard("paris-1")
    assert not view.fresh("paris-1", 1.0, burst_s=0.5)


def test_a_node_that_leaves_while_it_answers_is_removed_with_what_it_held(view: View) -> None:
    view.declare([])
    assert view.nodes == ()
    assert view.gone == ()
    fact = view.observed.nodes["paris-1"]
    assert isinstance(fact, Unknown)
    assert fact.reason == "it is no longer declared"
    assert fact.last == facts(100.0)


def test_a_node_that_leaves_while_it_is_silent_is_gone(view: View) -> None:
    view.put("paris-1", Unknown("no route to host", 101.0), 101.0)
    view.declare([])
    assert view.observed.nodes == {}
    assert view.gone == ("paris-1",)
    view.declare(["paris-1"])
    assert view.gone == ()
    back = view.fact("paris-1")
    assert isinstance(back, Unknown)
    assert back.last is None


def test_a_node_that_leaves_while_too_many_are_silent_is_not_gone(view: View) -> None:
    view.put("paris-1", Unknown("no route to host", 101.0), 101.0)
    view.declare([], stormy=["paris-1"])
    assert view.gone == ()
    fact = view.observed.nodes["paris-1"]
    assert isinstance(fact, Unknown)
    assert fact.last == facts(100.0)
    store = Store.open(":memory:")
    store.save_seen("paris-1", render_facts(facts(100.0)), 100.0)
    store.mark_silent("paris-1")
    save_removed(store, view)
    assert store.silent() == frozenset()    # so that the next start removes it, too


@pytest.mark.parametrize(("silent", "gone"), [(["paris-2"], ("paris-2",)),
                                              (["paris-2", "milan-1"], ())])
def test_after_a_restart_nobody_is_gone_where_too_many_were_silent(
        clock: Hands, silent: list[str], gone: tuple[str, ...]) -> None:
    view = View(clock)
    view.remember({name: Known(facts(7.0), 7.0) for name in ("paris-1", "paris-2", "milan-1")},
                  silent=silent)
    view.declare(["paris-1", "milan-1"])
    assert view.gone == gone
    assert ("paris-2" in view.observed.nodes) is (gone == ())


def test_a_node_that_comes_back_is_to_be_looked_at_again(view: View) -> None:
    view.declare([])
    view.declare(["paris-1"])
    back = view.fact("paris-1")
    assert isinstance(back, Unknown)
    assert back.last == facts(100.0)
    assert not view.looked_at("paris-1")
    assert view.observed.nodes == {"paris-1": back}


@pytest.mark.parametrize("first", ["remember", "declare"])
def test_after_a_restart_undeclared_nodes_are_removed_unless_they_were_silent(
        clock: Hands, first: str) -> None:
    view = View(clock)
    rows = {name: Known(facts(7.0), 7.0) for name in ("paris-1", "paris-2", "milan-1")}
    if first == "declare":
        view.declare(["milan-1"])
    view.remember(rows, silent=["paris-2"])
    if first == "remember":
        view.declare(["milan-1"])
    assert sorted(view.observed.nodes) == ["milan-1", "paris-1"]
    assert view.nodes == ("milan-1",)
    assert view.gone == ("paris-2",)


def test_a_node_that_leaves_before_its_first_look_is_removed(clock: Hands) -> None:
    view = View(clock)
    view.declare(["paris-1"])
    view.remember({"paris-1": Known(facts(7.0), 7.0)})
    view.declare([])
    assert sorted(view.observed.nodes) == ["paris-1"]


def test_what_a_removed_node_holds_is_not_known_once_something_was_done_there(
        view: View) -> None:
    view.declare([])
    version = view.version
    view.mark_stale("paris-1")
    fact = view.observed.nodes["paris-1"]
    assert isinstance(fact, Unknown)
    assert fact.last is None
    assert view.version > version


def test_the_store_remembers_who_was_silent_until_it_speaks_again() -> None:
    with Store.open(":memory:") as store:
        save_fact(store, "paris-1", Known(facts(7.0), 7.0))
        save_fact(store, "paris-1", Unknown("no route to host", 8.0))
        assert store.silent() == {"paris-1"}
        save_fact(store, "paris-1", Known(facts(7.0), 9.0))
        assert store.silent() == frozenset()
        store.forget_seen("paris-1")
        assert load_seen(store) == {}


def seen_at(at: float, steady: Callable[[], float] = lambda: 0.0) -> tuple[list[float], View]:
    """A clock that can be set, and a view in which a node was seen just now."""
    now = [at]
    view = View(lambda: now[0], steady)
    view.declare(["paris-1"])
    view.put("paris-1", Known(facts(at), at), at)
    return now, view


def test_a_clock_that_is_set_back_makes_no_look_fresh_and_no_fact_younger() -> None:
    now, view = seen_at(1e6)
    now[0] -= 3600
    view.mark_stale("paris-1")
    view.mark_heard("paris-1")
    assert not view.fresh("paris-1", 1.0)
    fact = view.fact("paris-1")
    assert isinstance(fact, Known)
    assert fact.observed_at == now[0]
    view.put("paris-1", Known(facts(now[0]), now[0]), now[0])
    assert view.fresh("paris-1", 1.0)   # what is looked at anew is fresh, at once


def test_with_a_clock_that_nobody_can_set_the_age_is_right_although_time_has_passed() -> None:
    ticks = [50.0]
    now, view = seen_at(1e6, lambda: ticks[0])
    ticks[0] += 20
    now[0] += 20 - 5    # in the meantime it was set back by five seconds
    told = view.clock_step()
    assert told is not None
    assert "set back by 5s" in told
    fact = view.fact("paris-1")
    assert isinstance(fact, Known)
    assert now[0] - fact.observed_at == 20
    assert view.clock_step() is None


def test_a_clock_that_is_set_forward_is_told_and_makes_all_of_it_old() -> None:
    ticks = [50.0]
    now, view = seen_at(1e6, lambda: ticks[0])
    now[0] += 7200
    told = view.clock_step()
    assert told is not None
    assert "set forward by 2h00m" in told
    assert view.stale(30.0) == ("paris-1",)
    assert not view.fresh("paris-1", 1.0)


@pytest.mark.parametrize("part", [
    {"interfaces": Known({"up0": InterfaceFacts("up0", ("10.0.0.5/24",))}, 100.0)},
    {"capabilities": Known(Capabilities(("pc",), ()), 100.0)},
    {"warnings": {"bridges": "up0 has no carrier"}},
], ids=str)
def test_whatever_a_gate_or_a_sentence_rests_on_is_news(view: View, part: dict[str, Any]) -> None:
    """An address that comes to an uplink is seen before anything is done to that."""
    before = view.version
    assert view.put("paris-1", Known(facts(101.0, **part), 101.0), 101.0)
    assert view.version > before
    assert not view.put("paris-1", Known(facts(102.0, **part), 102.0), 102.0)


def test_time_in_which_nobody_listened_is_nobodys_silence() -> None:
    ticks = [50.0]
    now, view = seen_at(1e6, lambda: ticks[0])
    began_at = view.observed.listening_since_at
    assert began_at == 1e6
    for _ in range(100):        # it listens
        ticks[0] += 0.5
        now[0] += 0.5
        view.clock_step()
    assert view.observed.listening_since_at == began_at
    ticks[0] += 60.0            # it was stopped
    now[0] += 60.0
    view.clock_step()
    assert view.observed.listening_since_at == now[0]
    now[0] += 600.0             # the machine slept, or somebody set its clock forward
    ticks[0] += 0.5
    view.clock_step()
    assert view.observed.listening_since_at == now[0]
    now[0] -= 3600.0            # somebody set it back: it has not listened any longer for that
    view.clock_step()
    assert view.observed.listening_since_at == now[0]


@pytest.mark.parametrize(("took_s", "later_s", "fresh"), [
    (0.1, 0.8, True), (0.1, 1.2, False), (3.0, 0.8, True), (3.0, 1.2, False), (9.0, 0.0, False)])
def test_a_slow_look_is_fresh_for_as_long_as_a_quick_one_and_a_late_one_never(
        took_s: float, later_s: float, fresh: bool) -> None:
    now, view = seen_at(1e6)
    view.put("paris-1", Known(facts(now[0]), now[0]), now[0] - took_s)
    now[0] += later_s
    assert view.fresh("paris-1", 1.0) is fresh
    view.mark_stale("paris-1")
    assert not view.fresh("paris-1", 1.0)

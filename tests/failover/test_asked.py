"""An order for a move is carried out for each VM that it means, once, whatever took that away."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations_with_replacement

import pytest

from controller.failover.case import open_records
from controller.failover.decide import decide, used_up
from controller.failover.orders import Move, WriteRecord
from controller.failover.situation import MachineSituation, Progress, RecordCopy, Request, Situation
from controller.failover.states import Phase
from controller.model.failover.record import Record, RecordedHost, RecordedMachine
from tests.failover.builders import MILAN, PARIS, host, lost, machine, one

NAMES = ("mail", "sql", "web")
BACK = Request(target="Site/paris", by="ada", planned=True, back=True)
AWAY = Request(target="Site/paris", by="ada", planned=True)
NODES = ("hq", *MILAN, *PARIS)
STORIES = ("at home", "moved by hand", "its host failed over", "its site failed over",
           "moved after its site failed over", "its dead host failed over", "declared elsewhere")


def told(name: str, story: str) -> tuple[MachineSituation, list[Record]]:
    """One VM of paris, and the records that are open because of what happened to it."""
    away = {"at": "milan-1", "runs_on": ("milan-1",), "at_home": False, "target": "paris-2",
            "progress": Progress.HEALTHY, "reverse_fresh": True, "may_run_on": ()}
    declared = {"declared_at": frozenset({"Site/paris"})}
    own = Record(scope="Host/paris-1", epoch=3, term=3, phase=Phase.PROTECTED_REVERSED,
                 hosts={"paris-1": RecordedHost("boot-paris-1")},
                 machines={name: RecordedMachine(f"uuid-{name}", 7, "milan-1")})
    whole = replace(own, scope="Site/paris", epoch=4,
                    hosts={each: RecordedHost(f"boot-{each}") for each in PARIS})
    match story:
        case "at home":
            return machine(name, at="paris-1", at_home=True, **declared), []
        case "moved by hand":
            return machine(name, home="milan-1", epoch=2, **declared, **away), []
        case "its host failed over":
            return machine(name, epoch=3, **declared, **away), [own]
        case "its site failed over":
            return machine(name, epoch=4, **declared, **away), [whole]
        case "moved after its site failed over":
            return machine(name, home="milan-1", epoch=9, **declared, **away), [whole]
        case "its dead host failed over":
            dead = replace(own, scope="Host/paris-3", phase=Phase.LED_ELSEWHERE,
                           hosts={"paris-3": RecordedHost("boot-paris-3")})
            return machine(name, home="paris-3", epoch=3, **declared, **away), [dead]
    return machine(name, home="milan-1", declared_at=frozenset({"Site/milan"}), **(
        away | {"at_home": True})), []


def world(stories: Iterable[str], *requests: Request) -> Situation:
    """The estate after these stories, one for each VM."""
    machines, records = [], dict[str, Record]()
    for name, story in zip(NAMES, stories, strict=True):
        found, opened = told(name, story)
        machines.append(found)
        for each in opened:
            known = records.setdefault(each.scope, each)
            records[each.scope] = replace(known, machines={**known.machines, **each.machines})
    return lost("x", machines=machines, requests=requests, highest_epoch=9,
                hosts={"paris-3": host("paris-3", 600.0)},
                records=tuple(RecordCopy(node=node, record=each)
                              for each in records.values() for node in NODES))


def turn(situation: Situation, moved: list[str]) -> Situation:
    """One round: what is ordered is done, and orders that are used up are withdrawn."""
    copies = {(copy.node, copy.record.scope): copy for copy in situation.records}
    machines = dict(situation.machines)
    for decision in decide(situation):
        for order in decision.orders:
            if isinstance(order, WriteRecord):
                copies |= {(node, order.record.scope): RecordCopy(node=node, record=order.record)
                           for node in order.nodes}
            if isinstance(order, Move) and machines[order.machine] is situation.machines[
                    order.machine]:
                moved.append(order.machine)
                seen = machines[order.machine]
                machines[order.machine] = replace(
                    seen, at=seen.target or "", home=seen.target or "", epoch=order.epoch,
                    runs_on=(seen.target or "",), at_home=not seen.at_home, target=seen.at)
    requests = list(situation.requests)
    for spent in used_up(situation):
        requests.remove(spent.request)
        requests += [replace(spent.request, target=f"VirtualMachine/{name}")
                     for name in spent.left]
    return replace(situation, records=tuple(copies.values()), machines=machines,
                   requests=tuple(requests))


def rounds(situation: Situation, times: int = 14) -> tuple[Situation, list[str]]:
    """The estate after some rounds, and every move that was made."""
    moved = list[str]()
    for _ in range(times):
        situation = turn(situation, moved)
    return situation, moved


@pytest.mark.parametrize("stories", list(combinations_with_replacement(STORIES, 3)), ids=str)
def test_everything_declared_at_a_site_goes_back_once(stories: tuple[str, ...]) -> None:
    situation, moved = rounds(world(stories, BACK))
    away = [name for name, story in zip(NAMES, stories, strict=True)
            if story not in {"at home", "declared elsewhere"}]
    assert sorted(moved) == away
    assert all(each.at_home for each in situation.machines.values())
    assert situation.requests == ()
    assert open_records(situation) == {}


@pytest.mark.parametrize("story", STORIES[1:6])
def test_an_order_for_one_vm_moves_no_other(story: str) -> None:
    order = replace(BACK, target="VirtualMachine/sql")
    _, moved = rounds(world((story, story, story), order))
    assert moved == ["sql"]


def test_what_a_failover_still_holds_goes_back_once_that_is_put_right() -> None:
    stories = ("moved by hand", "its host failed over", "at home")
    situation = world(stories, BACK)
    records = tuple(replace(copy, record=replace(copy.record, phase=Phase.REVERSING))
                    for copy in situation.records)
    stale = replace(situation.machines["sql"], reverse_fresh=False)
    held = replace(situation, records=records, machines=situation.machines | {"sql": stale})
    held, moved = rounds(held)
    assert moved == ["mail"]
    assert [each.target for each in held.requests] == ["VirtualMachine/sql"]
    fresh = replace(held.machines["sql"], reverse_fresh=True)
    ended, moved = rounds(replace(held, machines=held.machines | {"sql": fresh}))
    assert moved == ["sql"]
    assert ended.requests == ()


def test_an_order_for_what_is_there_already_is_refused_and_says_so() -> None:
    decision = one(world(("at home",) * 3, BACK))
    assert "refused: each VM that it means is there already" in decision.sentence


def test_vms_of_both_sites_leave_a_site_that_is_to_be_emptied() -> None:
    stories = ("its site failed over", "declared elsewhere", "at home")
    situation, moved = rounds(world(stories, replace(AWAY, target="Site/milan")))
    assert sorted(moved) == ["mail", "sql"]
    assert {each.at for each in situation.machines.values()} == {"paris-1", "paris-2"}


def test_an_order_for_a_move_does_not_keep_a_silent_site_from_being_failed_over() -> None:
    for order in (AWAY, BACK):
        dead = lost(requests=(order,))
        assert one(dead).phase is Phase.REVOKING
        waits = one(lost(requests=(replace(order, target="VirtualMachine/sql"),),
                         machines=(machine("sql", at_home=order is AWAY),)), "VirtualMachine/sql")
        assert waits.waits_for == ("paris-1",)


def test_a_vm_that_cannot_be_moved_holds_up_no_other_and_is_named() -> None:
    situation = world(("moved by hand",) * 3, BACK)
    failed = replace(situation.machines["sql"], move_failed="sql did not shut down")
    situation, _ = rounds(replace(situation, machines=situation.machines | {"sql": failed}), 1)
    assert one(situation).waiting == ("sql did not shut down",)
    situation, moved = rounds(situation)
    assert sorted(moved) == ["mail", "web"]
    assert (situation.requests, open_records(situation)) == ((), {})


def test_a_host_order_against_a_site_that_is_silent_as_a_whole_names_the_site() -> None:
    decision = one(lost(requests=(Request(target="Host/paris-1", by="ada"),)), "Host/paris-1")
    assert "order `hotsite failover paris`" in decision.sentence

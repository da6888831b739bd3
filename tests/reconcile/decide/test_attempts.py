"""Refused actions are tried again only after a change, and not too soon."""

from controller.plan.actions.machine import StartDomain
from controller.reconcile.decide.attempts import Refusals

START = StartDomain(target="VirtualMachine/web", node="paris-1", reason="it is off", domain="web")
OTHER = StartDomain(target="VirtualMachine/web", node="paris-1", reason="it is off", domain="w")


def test_a_refusal_stands_for_ever_while_nothing_changes() -> None:
    refusals = Refusals()
    assert not refusals.stands(START, (1,), 0.0)
    refusals.note(START, "no such image", (1,), 0.0)
    assert refusals.stands(START, (1,), 1e9)


def test_a_change_of_the_node_or_of_the_action_lifts_it_after_a_pause() -> None:
    refusals = Refusals()
    refusals.note(START, "no such image", (1,), 100.0)
    assert refusals.stands(START, (2,), 100.5)
    assert not refusals.stands(START, (2,), 101.5)
    assert not refusals.stands(OTHER, (1,), 101.5)


def test_each_refusal_in_a_row_makes_the_pause_longer() -> None:
    refusals = Refusals()
    for count in range(4):
        refusals.note(START, "no such image", (count,), 0.0)
    assert refusals.next_due(0.0) == 8.0
    assert refusals.stands(START, (9,), 7.9)
    assert not refusals.stands(START, (9,), 8.0)


def test_what_is_no_longer_wanted_is_forgotten() -> None:
    refusals = Refusals()
    refusals.note(START, "no such image", (1,), 0.0)
    assert START.target in refusals.targets()
    refusals.keep_only([])
    assert START.target not in refusals.targets()
    assert not refusals.stands(START, (1,), 0.0)

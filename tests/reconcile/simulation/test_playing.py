"""Losses strike an estate in memory: what comes back, what does not, and why."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import Known, NodeFacts
from controller.providers.simulated.virtual_time import run_virtual
from controller.reconcile.simulation.happenings import Happening
from controller.reconcile.simulation.playing import Played, Setting, play
from tests.plan import builders as b
from tests.plan import guarded as g
from tests.plan import replicas as r

HOUR = 3600.0
DAY = 24 * HOUR


def estate(*more: Any, **policy: Any) -> Any:
    """Two sites with BMCs and guards, and a witness; sql at paris, which fails over by itself."""
    hosts = {name: {"fencing": ["guard"], "acceptFreeze": True,
                    "pools": [{"name": "default", "path": "/vm"}]} for name in g.OCTETS}
    return g.guarded(
        b.document("ProtectionPolicy", "auto", **({
            "rpo": "5m", "failover": "automatic", "isolation": "stop"} | policy)),
        b.vm("sql", protection="auto", autostart="off", placement={"site": "paris"}), *more,
        hosts=hosts)


def setting(desired: Any, facts: dict[str, Known[NodeFacts]] | None = None,
            answer_s: float | None = None, place: str | None = "milan") -> Setting:
    return Setting(desired, facts or {}, place, 1, answer_s)


def played(given: Setting, *what: Happening, alone: bool = False) -> list[Played]:
    found: Sequence[Played] = run_virtual(play(given, what, b.NOW_S, alone=alone))
    assert not any(one.twice for one in found), "no VM ever runs twice"
    return list(found)


def lost(target: str, after_s: float = HOUR) -> Happening:
    return Happening(b.NOW_S + after_s, target, "lost")


def back(target: str, after_s: float) -> Happening:
    return Happening(b.NOW_S + after_s, target, "back")


def test_a_vm_of_a_lost_site_comes_back_as_predicted_with_its_loss() -> None:
    (one,) = played(setting(estate()), lost("Site/paris"))
    assert (one.lost, list(one.back_s), one.reasons) == (("sql",), ["sql"], {})
    assert one.predicted_s is not None
    assert one.last_s is not None
    assert one.last_s == pytest.approx(one.predicted_s, rel=0.25)
    assert one.worst is not None
    assert 0 < one.worst[0] < 600


def test_what_nobody_may_fail_over_waits_until_a_person_answers() -> None:
    desired = estate(failover="confirm")
    (alone,) = played(setting(desired), lost("Site/paris"))
    assert alone.back_s == {}
    assert "hotsite failover paris" in alone.reasons["sql"]
    (answered,) = played(setting(desired, answer_s=120.0), lost("Site/paris"))
    assert answered.back_s["sql"] > 120.0


def test_an_unprotected_vm_does_not_come_back_and_is_named() -> None:
    desired = estate(b.vm("web", autostart="off", placement={"site": "paris"}))
    (one,) = played(setting(desired), lost("Site/paris"))
    assert one.reasons == {"web": "no protection policy gives it a replica"}


def test_an_estate_without_replicas_gets_nothing_back() -> None:
    desired = g.guarded(b.vm("sql", placement={"site": "paris"}), hosts={
        name: {"pools": [{"name": "default", "path": "/vm"}]} for name in g.OCTETS})
    for one in played(setting(desired, answer_s=60.0), lost("Site/paris"), alone=True):
        assert one.back_s == {}
        assert set(one.reasons) == {"sql"}


def test_days_between_two_losses_are_skipped_and_copies_went_on() -> None:
    first, returned, second = played(
        setting(estate()), lost("Host/milan-1"), back("Host/milan-1", 2 * HOUR),
        lost("Site/paris", 20 * DAY))
    assert (first.lost, returned.lost) == ((), ())
    assert second.back_s.keys() == {"sql"}
    assert second.worst is not None
    assert second.worst[0] < DAY


def test_a_second_loss_finds_the_estate_as_the_first_has_left_it() -> None:
    first, second = played(setting(estate()), lost("Site/paris"), lost("Site/milan", 5 * DAY))
    assert first.back_s.keys() == {"sql"}
    assert second.lost == ("sql",)
    assert second.back_s == {}


def test_losses_that_are_played_alone_find_all_else_well() -> None:
    both = played(setting(estate()), lost("Site/milan"), lost("Site/paris", 2 * DAY), alone=True)
    assert [(one.lost, sorted(one.back_s)) for one in both] == [((), []), (("sql",), ["sql"])]


def seen(desired: Any, *, replica_age_s: float | None) -> dict[str, Known[NodeFacts]]:
    """What a loop saw: sql on paris-2, and its replica on milan-2, or none anywhere."""
    observed = r.asked(g.seen(desired, {"sql": "paris-2"}), desired)
    if replica_age_s is not None:
        observed = r.with_replica(observed, "milan-2", r.replica(
            "sql", r.series(12, replica_age_s)))
    return {name: fact for name, fact in observed.nodes.items() if isinstance(fact, Known)}


def test_it_begins_with_what_was_seen_where_a_loop_has_seen_anything() -> None:
    desired = estate()
    facts = seen(desired, replica_age_s=240.0)
    (elsewhere,) = played(setting(desired, facts), lost("Host/paris-1", 120.0))
    assert elsewhere.lost == ()
    (one,) = played(setting(desired, facts), lost("Host/paris-2", 120.0))
    assert (one.lost, list(one.back_s)) == (("sql",), ["sql"])


def test_a_host_that_was_never_asked_takes_nobody_s_replica_away() -> None:
    desired = estate()
    facts = {name: fact for name, fact in seen(desired, replica_age_s=None).items()
             if name.startswith("paris")}
    (one,) = played(setting(desired, facts), lost("Site/paris", 120.0))
    assert list(one.back_s) == ["sql"]


def test_the_same_seed_gives_the_same_run() -> None:
    one, other = (played(setting(estate()), lost("Site/paris")) for _ in range(2))
    assert [replace(each) for each in one] == other

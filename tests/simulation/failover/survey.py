"""What `plan/` would make of a controller's answers: the situation that is decided about."""

from bisect import bisect
from functools import lru_cache

from controller.failover import fencing
from controller.failover.inequality import undone_until_s
from controller.failover.situation import (
    Bmc,
    Grant,
    HostSituation,
    Lease,
    MachineSituation,
    Progress,
    RecordCopy,
    Request,
    Situation,
    View,
    Word,
)
from controller.model.failover.record import Record
from tests.simulation.failover.controller import Controller
from tests.simulation.failover.host import Host
from tests.simulation.failover.world import GUARD

FRESH_S = 10.0
SUSPECT_S = 15.0


def situation_of(me: Controller) -> Situation:
    """Everything that this controller knows, as `decide` wants it."""
    assert me.estate is not None
    now, answers = me.world.now, me.answers
    copies = tuple(RecordCopy(node=name, record=record) for name, answer in answers.items()
                   if now - answer.at < FRESH_S for record in answer.facts.records)
    epochs = [record.epoch for answer in answers.values() for record in answer.facts.records]
    epochs += [epoch for answer in answers.values() for epoch in answer.facts.guests.values()]
    epochs += [epoch for answer in answers.values() for epoch in answer.facts.revoked.values()]
    epochs += [replica.epoch for replica in me.estate.replicas.values()]
    seen = Seen(me)
    hosts = {name: _host(me, host) for name, host in me.estate.hosts.items()}
    return Situation(
        hosts=hosts, machines={name: _machine(me, name, seen) for name in me.estate.shape.home},
        views=(_view(me),), place=me.place, listening_s=now - me.started_at, records=copies,
        requests=_requests(me), lease=Lease(term=me.term, fresh=me.conducts()),
        controller=me.name, highest_epoch=max(epochs, default=0), guard=GUARD,
        suspect_after_s=SUSPECT_S, now_at=now)


def _requests(me: Controller) -> tuple[Request, ...]:
    """Return what a person ordered."""
    return tuple(Request(target=target, by="ada", accepts_loss=True)
                 for target in sorted(me.orders))


def _silent_s(me: Controller, name: str) -> float:
    return me.world.now - me.last_seen_at(name)


def _view(me: Controller) -> View:
    answer = me.answers.get("hq")
    if answer is None:
        return View(by="hq", place="hq", age_s=None)
    heard = {} if me.lied_to else answer.heard_s
    return View(by="hq", place="hq", age_s=me.world.now - answer.at + me.witness_late_s,
                listening_s=answer.listening_s, heard_s=heard)


def _host(me: Controller, host: Host) -> HostSituation:
    answer = me.answers.get(host.name)
    word = me.words.get(host.name)
    silent_s = _silent_s(me, host.name)
    return HostSituation(
        name=host.name, site=host.site, silent_s=silent_s, heard=answer is not None,
        boot_id=f"boot-{answer.facts.boot}" if answer is not None else "",
        guarded=host.name in me.guarded, watchdog=host.watchdog, accept_freeze=host.accept_freeze,
        grants=tuple(_grants(me, host)) if host.name in me.concerned else (),
        bmc=_bmc(me, host), start_width=2,
        word=Word(by="ada", reason="looked", boot_id=word[0], age_s=me.world.now - word[1])
        if word is not None else None)


Fresh = dict[str, tuple[dict[str, float], dict[str, int], float]]
"""Of each node that answered lately: who was granted how long ago then, whom it refuses, and how
long ago that was, by our clock."""


def _fresh(me: Controller) -> Fresh:
    now = me.world.now
    return {name: (answer.grants_s, answer.facts.revoked, (now - answer.at) * me.rate)
            for name, answer in me.answers.items() if now - answer.at <= FRESH_S}


def _grants(me: Controller, host: Host) -> list[Grant]:
    return [Grant(grantor=name, age_s=age_s, revoked=revoked)
            for name, age_s, revoked in _granted(me, host, _fresh(me))]


def _granted(me: Controller, host: Host, fresh: Fresh) -> list[tuple[str, float | None, int]]:
    """Return each grantor of a host: its name, how long ago it granted, for what it refuses."""
    found: list[tuple[str, float | None, int]] = []
    now, name = me.world.now, host.name
    for line in host.asks:
        grantor = line.grantor
        if grantor.name in fresh:
            grants_s, revoked, late_s = fresh[grantor.name]
            found.append((grantor.name, grants_s[name] + late_s, revoked.get(name, 0))
                         if name in grants_s else (grantor.name, None, 0))
        elif grantor is me:
            found.append(("controller", min(me.last_grant_s(name, now), now - me.term_at),
                          me.revoked.get(name, 0)))
        elif not isinstance(grantor, Controller):
            found.append((grantor.name, None, 0))
    return found[1:] if me.world.mistakes.skip_grantor else found


def _bmc(me: Controller, host: Host) -> Bmc | None:
    bmc = host.bmc
    if bmc is None:
        return None
    if bmc.said == "failed":
        return Bmc(failed="ConnectTimeout", age_s=None)
    if bmc.said == "lie":
        return Bmc(on=True, age_s=0.0, sentence="204, and stays On")
    if bmc.said == "PoweringOff":
        return Bmc(age_s=0.0, sentence="PoweringOff")
    if bmc.off_since is None:
        return Bmc(on=True, age_s=0.0)
    distrust = "it read Off while the host answered" if host.name in me.distrusted else ""
    return Bmc(off_reads=bmc.reads, off_s=me.world.now - bmc.off_since, age_s=0.0,
               distrust=distrust)


def key_of(me: Controller) -> tuple[object, ...]:
    """Return all of a situation that can make a difference to a decision.

    Ages count by the limits that they have passed, and facts by the object that was told. Two
    situations of one key differ in the numbers of their sentences alone.
    """
    assert me.estate is not None
    now, estate, answers = me.world.now, me.estate, me.answers
    waits_s = (undone_until_s(GUARD), fencing.wait_s(GUARD, watchdog=False),
               fencing.wait_s(GUARD, watchdog=True))
    parts: list[object] = [
        me.term, me.conducts(), me.lied_to, now - me.started_at >= SUSPECT_S,
        frozenset(estate.compared), frozenset(estate.fresh_reverse),
        tuple((one.node, one.epoch) for one in estate.replicas.values()),
        tuple(sorted(me.orders)), tuple(sorted(me.guarded)), tuple(sorted(me.distrusted)),
        tuple(sorted(me.revoked.items())), me.concerned, tuple(sorted(me.home.items()))]
    for name in estate.nodes:
        answer, late_s = answers.get(name), now - me.last_seen_at(name)
        parts.append((answer and answer.facts, late_s >= SUSPECT_S, late_s < FRESH_S,
                      late_s > FRESH_S))
    witness = answers.get("hq")
    if witness is not None:
        parts += [now - witness.at + me.witness_late_s <= SUSPECT_S,
                  witness.listening_s >= SUSPECT_S,
                  tuple(sorted((host, heard_s < SUSPECT_S)
                               for host, heard_s in witness.heard_s.items()))]
    fresh = _fresh(me) if me.concerned else {}
    for name in sorted(me.concerned):
        parts += [None if age_s is None else bisect(waits_s, age_s)
                  for _, age_s, _ in _granted(me, estate.hosts[name], fresh)]
    for name, host in estate.hosts.items():
        seen_at, bmc, word = me.last_seen_at(name), host.bmc, me.words.get(name)
        if bmc is not None:
            off_at = now if bmc.off_since is None else bmc.off_since
            parts += [bmc.said, min(bmc.reads, fencing.LEAST_READS), off_at < seen_at,
                      bisect(waits_s, now - off_at)]
        if word is not None:
            parts += [word, word[1] < seen_at, bisect(waits_s, now - word[1])]
    return tuple(parts)


class Seen:
    """Where the VMs run, and what the records say of them, indexed once for one decision."""

    def __init__(self, me: Controller) -> None:
        self.running: dict[str, list[str]] = {}
        self.epochs: dict[str, int] = {}
        self.newest: dict[str, Record] = {}
        for host, answer in sorted(me.answers.items()):
            late = me.world.now - answer.at >= SUSPECT_S
            for name, epoch in answer.facts.guests.items():
                self.epochs[name] = max(epoch, self.epochs.get(name, 0))
                if not late:
                    self.running.setdefault(name, []).append(host)
            for record in answer.facts.records:
                for name in record.machines if record.phase != "calm" else ():
                    if name not in self.newest or self.newest[name].rank < record.rank:
                        self.newest[name] = record


def _machine(me: Controller, name: str, seen: Seen) -> MachineSituation:
    assert me.estate is not None
    estate = me.estate
    home = me.home.get(name, estate.shape.home[name])
    progress, detail = _progress(me, name, seen)
    replica = estate.replicas[name]
    return _machine_like(
        name, home, estate.shape.group.get(name), estate.shape.order[name],
        replica.node if replica.node != home else None, seen.epochs.get(name, 0),
        tuple(seen.running.get(name, ())), progress, detail,
        silent=_silent_s(me, home) >= SUSPECT_S, automatic=name in estate.automatic,
        spared=name in estate.spared, compared=name in estate.compared,
        fresh=name in estate.fresh_reverse)


@lru_cache(maxsize=10_000)
def _machine_like(name: str, home: str, group: str | None, order: int, target: str | None,
                  epoch: int, runs_on: tuple[str, ...], progress: Progress, detail: str, *,
                  silent: bool, automatic: bool, spared: bool, compared: bool,
                  fresh: bool) -> MachineSituation:
    """Return the same for the same: it is asked again and again, and seldom changes."""
    return MachineSituation(
        name=name, uuid=f"uuid-{name}", home=home, may_run_on=(home,) if silent else (),
        failover="automatic" if automatic else "confirm", isolation="run" if spared else "stop",
        group=group, start_order=order, point=7, target=target, addresses_dropped=True,
        epoch=epoch, runs_on=runs_on, progress=progress, detail=detail, diverged_known=compared,
        reverse_fresh=fresh)


def _progress(me: Controller, name: str, seen: Seen) -> tuple[Progress, str]:
    """How far the newest record's promotion of a VM has come."""
    newest = seen.newest.get(name)
    if newest is None:
        return Progress.WAITING, ""
    answer = me.answers.get(newest.machines[name].node)
    if answer is None or answer.facts.guests.get(name, -1) < newest.epoch:
        return Progress.WAITING, ""
    if answer.facts.healthy_at.get(name, answer.at) <= answer.at:
        return Progress.HEALTHY, ""
    return Progress.STARTING, ""

"""What `plan/` would make of a controller's answers: the situation that is decided about."""

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
from tests.simulation.failover.controller import Controller
from tests.simulation.failover.nodes import Host
from tests.simulation.failover.world import GUARD

FRESH_S = 10.0
SUSPECT_S = 15.0


def situation_of(me: Controller) -> Situation:
    """Everything that this controller knows, as `decide` wants it."""
    assert me.estate is not None
    now, answers = me.world.now, me.answers
    copies = tuple(RecordCopy(node=name, record=record) for name, answer in answers.items()
                   if now - answer.at < FRESH_S for record in answer.records)
    epochs = [record.epoch for answer in answers.values() for record in answer.records]
    epochs += [epoch for answer in answers.values() for epoch in answer.guests.values()]
    epochs += [epoch for answer in answers.values() for _, epoch in answer.grants.values()]
    epochs += [replica.epoch for replica in me.estate.replicas.values()]
    revoked = bool(me.revoked) or any(epoch for answer in answers.values()
                                      for _, epoch in answer.grants.values())
    hosts = {name: _host(me, host, revoked=revoked) for name, host in me.estate.hosts.items()}
    return Situation(
        hosts=hosts, machines={name: _machine(me, name) for name in me.estate.shape.home},
        views=(_view(me),), place=me.place, listening_s=now - me.started_at, records=copies,
        requests=_requests(me), lease=Lease(term=me.term, fresh=me.conducts()),
        controller=me.name, highest_epoch=max(epochs, default=0), guard=GUARD,
        suspect_after_s=SUSPECT_S, now_at=now)


def _requests(me: Controller) -> tuple[Request, ...]:
    """Return what a person ordered."""
    return tuple(Request(target=target, by="ada", accepts_loss=True)
                 for target in sorted(me.orders))


def _silent_s(me: Controller, name: str) -> float:
    answer = me.answers.get(name)
    return me.world.now - (me.started_at if answer is None else answer.at)


def _view(me: Controller) -> View:
    answer = me.answers.get("hq")
    if answer is None:
        return View(by="hq", place="hq", age_s=None)
    heard = {} if me.lied_to else answer.heard_s
    return View(by="hq", place="hq", age_s=me.world.now - answer.at + me.witness_late_s,
                listening_s=answer.listening_s, heard_s=heard)


def _host(me: Controller, host: Host, *, revoked: bool) -> HostSituation:
    answer = me.answers.get(host.name)
    word = me.words.get(host.name)
    silent_s = _silent_s(me, host.name)
    return HostSituation(
        name=host.name, site=host.site, silent_s=silent_s, heard=answer is not None,
        boot_id=f"boot-{answer.boot}" if answer is not None else "",
        guarded=host.name in me.guarded, watchdog=host.watchdog, accept_freeze=host.accept_freeze,
        grants=tuple(_grants(me, host)) if revoked or silent_s >= SUSPECT_S else (),
        bmc=_bmc(me, host, silent_s), start_width=2,
        word=Word(by="ada", reason="looked", boot_id=word[0], age_s=me.world.now - word[1])
        if word is not None else None)


def _grants(me: Controller, host: Host) -> list[Grant]:
    found = []
    for grantor in host.grantors:
        if isinstance(grantor, Controller):
            if grantor is me:
                age_s = min(me.last_grant_s(host.name), me.world.now - me.term_at)
                found.append(Grant(grantor="controller", age_s=age_s,
                                   revoked=me.revoked.get(host.name, 0)))
            continue
        answer = me.answers.get(grantor.name)
        if answer is None or me.world.now - answer.at > FRESH_S:
            found.append(Grant(grantor=grantor.name, age_s=None))
        else:
            age_s, revoked = answer.grants[host.name]
            found.append(Grant(grantor=grantor.name, revoked=revoked,
                               age_s=age_s + (me.world.now - answer.at) * me.rate))
    return found[1:] if me.world.mistakes.skip_grantor else found


def _bmc(me: Controller, host: Host, silent_s: float) -> Bmc | None:
    bmc = host.bmc
    if bmc is None:
        return None
    if bmc.dialect == "dead" or not me.world.passes(me.name, f"bmc-{host.name}"):
        bmc.off_since = None
        return Bmc(failed="ConnectTimeout", age_s=None)
    off = bmc.dialect == "other" or (not host.power and bmc.dialect != "never")
    if bmc.dialect == "lies" and host.power:
        return Bmc(on=True, age_s=0.0, sentence="204, and stays On")
    if bmc.dialect == "never":
        return Bmc(age_s=0.0, sentence="PoweringOff")
    if not off:
        bmc.off_since, bmc.reads = None, 0
        return Bmc(on=True, age_s=0.0)
    if bmc.off_since is None:
        bmc.off_since = me.world.now
    bmc.reads += 1
    distrust = "it read Off while the host answered" if host.name in me.distrusted else ""
    return Bmc(off_reads=bmc.reads, off_s=me.world.now - bmc.off_since, age_s=0.0,
               distrust=distrust)


def _machine(me: Controller, name: str) -> MachineSituation:
    assert me.estate is not None
    shape = me.estate.shape
    home = me.home.get(name, shape.home[name])
    running = tuple(sorted(host for host, answer in me.answers.items() if name in answer.guests
                           and me.world.now - answer.at < SUSPECT_S))
    progress, detail = _progress(me, name)
    replica = me.estate.replicas[name]
    return MachineSituation(
        name=name, uuid=f"uuid-{name}", home=home,
        may_run_on=(home,) if _silent_s(me, home) >= SUSPECT_S else (),
        failover="automatic" if name in me.estate.automatic else "confirm",
        isolation="run" if name in me.estate.spared else "stop", group=shape.group.get(name),
        start_order=shape.order[name], point=7,
        target=replica.node if replica.node != home else None, addresses_dropped=True,
        epoch=max((answer.guests.get(name, 0) for answer in me.answers.values()), default=0),
        runs_on=running, progress=progress, detail=detail,
        diverged_known=name in me.estate.compared,
        reverse_fresh=name in me.estate.fresh_reverse)


def _progress(me: Controller, name: str) -> tuple[Progress, str]:
    """How far the newest record's promotion of a VM has come."""
    copies = [record for answer in me.answers.values() for record in answer.records
              if name in record.machines and record.phase != "calm"]
    newest = max(copies, key=lambda one: one.rank, default=None)
    if newest is None:
        return Progress.WAITING, ""
    node = newest.machines[name].node
    answer = me.answers.get(node)
    if answer is None or answer.guests.get(name, -1) < newest.epoch:
        return Progress.WAITING, ""
    if name in answer.healthy:
        return Progress.HEALTHY, ""
    return Progress.STARTING, ""

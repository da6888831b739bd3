"""A small estate in trouble: two hosts at paris, two at milan, a witness at hq."""

from collections.abc import Iterable
from dataclasses import replace

from controller.failover.decide import decide
from controller.failover.orders import Decision, Order, WriteRecord
from controller.failover.situation import (
    Bmc,
    Grant,
    HostSituation,
    Lease,
    MachineSituation,
    RecordCopy,
    Situation,
    View,
)
from controller.model.failover.record import Record

GONE_S = 60.0
PARIS = ("paris-1", "paris-2")
MILAN = ("milan-1", "milan-2")
GRANTORS = ("controller", "hq", *MILAN)
OFF = Bmc(off_reads=2, off_s=9.0, age_s=1.0)


def grants(age_s: float | None = 50.0, revoked: int = 1,
           names: Iterable[str] = GRANTORS, **others: Grant) -> tuple[Grant, ...]:
    """What every grantor says of one host."""
    return tuple(others.get(name, Grant(grantor=name, age_s=age_s, revoked=revoked))
                 for name in names)


def host(name: str, silent_s: float = 1.0, **more: object) -> HostSituation:
    """One host, guarded and with a watchdog."""
    site = name.partition("-")[0]
    whole = {"boot_id": f"boot-{name}", "guarded": True, "watchdog": True, "start_width": 2,
             "grants": grants(age_s=1.0, revoked=0) if site == "paris" else (), **more}
    return HostSituation(name=name, site=site, silent_s=silent_s, **whole)


def machine(name: str, home: str = "paris-1", **more: object) -> MachineSituation:
    """One VM of paris that may start at milan by itself."""
    whole = {"failover": "automatic", "isolation": "stop", "target": "milan-1", "point": 7,
             "may_run_on": (home,), **more}
    return MachineSituation(name=name, uuid=f"uuid-{name}", home=home, **whole)


def witness(silent: Iterable[str] = (), **more: object) -> View:
    """What hq says: it hears all hosts but those."""
    heard = {name: 1.0 for name in (*PARIS, *MILAN) if name not in set(silent)}
    whole = {"by": "hq", "place": "hq", "age_s": 1.0, "listening_s": 1e6, "heard_s": heard, **more}
    return View(**whole)


def lost(*names: str, hosts: dict[str, HostSituation] | None = None,
         machines: Iterable[MachineSituation] = (), **more: object) -> Situation:
    """The estate with these hosts silent, to us and to the witness."""
    names = names or PARIS
    every = {name: host(name, GONE_S if name in names else 1.0, **(
        {"grants": grants()} if name in names and name in PARIS else {}))
        for name in (*PARIS, *MILAN)}
    every |= hosts or {}
    found = tuple(machines) or (machine("sql"), machine("web", "paris-2", start_order=200))
    whole = {"views": (witness(names),), "place": "milan", "lease": Lease(term=3), **more}
    return Situation(hosts=every, machines={one.name: one for one in found}, **whole)


def one(situation: Situation, scope: str = "Site/paris") -> Decision:
    """The decision on one scope."""
    return next(each for each in decide(situation) if each.scope == scope)


def of(kind: type[Order], decision: Decision) -> list[Order]:
    """The orders of one kind."""
    return [each for each in decision.orders if isinstance(each, kind)]


def written(situation: Situation, decision: Decision) -> Situation:
    """The situation once the records of a decision are written."""
    found = {(copy.node, copy.record.scope): copy for copy in situation.records}
    for order in decision.orders:
        if isinstance(order, WriteRecord):
            found |= {(node, order.record.scope): RecordCopy(node=node, record=order.record)
                      for node in order.nodes}
    return replace(situation, records=tuple(found.values()))


def driven(situation: Situation, scope: str = "Site/paris", rounds: int = 12) -> Situation:
    """The situation after so many rounds in which all that happens is that records are written."""
    for _ in range(rounds):
        situation = written(situation, one(situation, scope))
    return situation


def recorded(situation: Situation, record: Record, nodes: Iterable[str] = ("hq", *MILAN)
             ) -> Situation:
    """The situation with this record on these nodes."""
    copies = tuple(RecordCopy(node=node, record=record) for node in nodes)
    return replace(situation, records=copies)

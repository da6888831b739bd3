"""Leftovers: what our own crashes left on hosts, and replicas that no spec asks for any longer."""

from collections import Counter
from typing import Final

from controller.model.facts import Known
from controller.model.replica import LeftoverKind
from controller.model.units import render_instant
from controller.plan.actions.replica import SweepLeftovers
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.replication.upkeep import LATER_RANK
from controller.plan.steps.contained import contained
from controller.plan.steps.draft import Draft, counted
from controller.plan.survey.replicas import Held, ReplicaIndex
from controller.plan.survey.survey import Survey

NOUNS: Final = {
    LeftoverKind.JOB: "backup job", LeftoverKind.SCRATCH: "scratch file",
    LeftoverKind.SOCKET: "socket", LeftoverKind.KEY: "one-time key",
    LeftoverKind.PROGRAM: "old program", LeftoverKind.DRILL: "drill",
}


def diff_leftovers(survey: Survey, draft: Draft) -> None:
    """Plan to sweep the leftovers of every declared host that reports any."""
    for host in sorted(survey.desired.hosts):
        node = survey.nodes.get(host)
        if node is None or not isinstance(node.leftovers, Known) or not node.leftovers.value:
            continue
        with contained(f"Host/{host}", draft):
            found = node.leftovers.value
            kinds = Counter(one.kind for one in found)
            words = ", ".join(counted(kinds[kind], NOUNS[kind]) for kind in sorted(kinds))
            draft.do(SweepLeftovers(
                target=f"Host/{host}", node=host, leftovers=found,
                reason=f"{_broken(kinds)} that broke off has left {words} on {host}",
                consequence="only what is surely ours is removed"), rank=LATER_RANK + 3)


def _broken(kinds: Counter[LeftoverKind]) -> str:
    """Return what it was that left these kinds of things."""
    if kinds.keys() == {LeftoverKind.DRILL}:
        return "a drill"
    return "a copy or a drill" if LeftoverKind.DRILL in kinds else "a copy"


def tell_unclaimed(protected_machines: list[ProtectedMachine], index: ReplicaIndex,
                   draft: Draft) -> None:
    """Report every replica of a VM that is not declared or not protected: it is left alone."""
    protected_uuids = {protected.uuid for protected in protected_machines}
    unclaimed = sorted(index.held.keys() - protected_uuids)
    names = {protected.name for protected in protected_machines} if unclaimed else set()
    for uuid in unclaimed:
        for host, replica in index.held[uuid]:
            name = replica.machine or uuid
            if name in names:
                draft.remark(f"Replica/{name}", _of_an_earlier(name, Held(host, replica)))
                continue
            draft.remark(f"Replica/{name}", f"{name} is not declared with a `protection`: its"
                         f" replica on {host} is left alone; delete {replica.path} there by hand"
                         " when it is of no more use")


def _of_an_earlier(name: str, held: Held) -> str:
    point, path = held.sound, held.replica.path
    newest = "" if point is None else f", newest point {render_instant(point.started_at)}"
    return (f"{held.host} holds a replica of an earlier {name} (uuid {held.replica.uuid}{newest}):"
            f" it is left alone; keep it until {name} surely has all that it needs, then delete"
            f" {path} there by hand")


def tell_unseen(index: ReplicaIndex, survey: Survey, draft: Draft) -> None:
    """Report hosts that answer but whose replicas could not be seen."""
    for host, why in index.unseen.items():
        if host in survey.nodes and host not in index.never_asked:
            words = "nothing is seeded meanwhile" if host in index.unlisted else (
                "what it held when it last answered counts meanwhile")
            draft.remark(f"Host/{host}", f"{why}: {words}", unknown=True)

"""What is seen of a failover whose VMs run elsewhere: whether it is over, and how it may end.

It ends when its VMs were moved back; when each of them was promoted or moved anew since, so that
its record says nothing of them any more; or when its hosts are lost again with VMs that it had not
promoted: these need an epoch of their own.
"""

from controller.failover.case import Case
from controller.failover.quorum import Told, answers, listed
from controller.failover.situation import MachineSituation

PERSON = "a person"


def recorded(case: Case) -> list[MachineSituation]:
    """Return the VMs that its record has promoted, and nobody since."""
    return [one for one in case.machines
            if case.promoted(one) is not None and one.epoch <= case.epoch]


def reverse_stale(case: Case) -> Told | None:
    """A promoted VM has no fresh replica at its old site."""
    names = [one.name for one in recorded(case) if not one.reverse_fresh]
    has = "has" if len(names) == 1 else "have"
    return Told(f"{listed(names)} {has} no fresh replica yet", tuple(names)) if names else None


def reverse_fresh(case: Case) -> Told | None:
    """Every promoted VM has a fresh replica at its old site."""
    return Told("their replicas at home are fresh") if reverse_stale(case) is None else None


def overtaken(case: Case) -> Told | None:
    """Each VM of its record has a higher epoch by now, or is no longer declared and protected."""
    held = case.record.machines if case.record is not None else {}
    mine = [one for one in case.machines if one.name in held]
    if not held or any(one.epoch <= case.epoch for one in mine):
        return None
    if len(mine) < len(held) and case.silent:
        return None
    return Told("each of its VMs was promoted or moved since, or is not protected any more")


def lost_again(case: Case) -> Told | None:
    """All its hosts are gone again, and a VM ran there that its record does not promote."""
    if case.answering or not case.silent or not (case.agreed or case.ordered):
        return None
    if any(not one.runs_on for one in recorded(case)):
        return None
    lost = [one.name for one in case.machines if case.promoted(one) is None and not one.runs_on]
    return Told(f"{listed(lost)} ran there", tuple(lost)) if lost else None


def is_away(machine: MachineSituation, case: Case) -> bool:
    """Return whether the host of a VM does not answer."""
    home = case.situation.hosts.get(machine.home)
    return home is None or not answers(home, case.situation)


def is_moved(machine: MachineSituation, case: Case) -> bool:
    """Return whether the move of a case has nothing to do with a VM any more."""
    return machine.moved or case.scope in machine.moved_by


def moving(case: Case) -> Told | None:
    """A VM of it is not where it is declared to be."""
    names = [one.name for one in case.machines if not is_moved(one, case)]
    return Told(listed(names), tuple(names)) if names else None


def move_failed(case: Case) -> Told | None:
    """The move of a VM failed, and it is whole where it was."""
    found = [f"{one.name}: {one.move_failed}" for one in case.machines if one.move_failed]
    return Told("; ".join(found), (PERSON,)) if found else None


def called_off(case: Case) -> Told | None:
    """The move of a VM failed that never failed over, or its host fell silent meanwhile."""
    if case.record is not None and case.record.machines:
        return None
    away = [one for one in case.machines if not is_moved(one, case) and is_away(one, case)]
    if away:
        return Told(f"{away[0].home}, which runs {away[0].name}, does not answer")
    return move_failed(case)


def moved(case: Case) -> Told | None:
    """Every VM of it is where it is declared to be."""
    return Told("all of them run there") if moving(case) is None else None

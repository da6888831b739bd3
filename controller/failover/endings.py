"""What is seen of a failover whose VMs run elsewhere: whether it is over, and how it may end.

It ends when its VMs were moved back; when each of them was promoted or moved anew since, so that
its record says nothing of them any more; when its hosts are lost again with VMs that it had not
promoted: these need an epoch of their own; or when a person took all its hosts out of the specs,
and none of its VMs is left half-way.
"""

from controller.failover.asked import is_unreached
from controller.failover.case import Case
from controller.failover.quorum import Told, listed
from controller.failover.situation import MachineSituation, Progress

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


def undeclared(case: Case) -> Told | None:
    """None of the hosts of its record is declared any more, and no VM of it is left half-way."""
    if not case.undeclared or case.hosts or any(_is_half_way(one) for one in recorded(case)):
        return None
    return Told(f"{listed(sorted(case.undeclared))} left the specs")


def _is_half_way(machine: MachineSituation) -> bool:
    return not machine.runs_on and (not machine.at or machine.progress is Progress.WAITING)


def left(case: Case) -> list[MachineSituation]:
    """Return the VMs of a move that are not where it leads."""
    return [one for one in case.machines if not case.is_moved(one)]


def hindrance(machine: MachineSituation, case: Case) -> str | None:
    """Return why a VM that is left cannot be moved, and stays where it is."""
    if machine.move_failed:
        return machine.move_failed
    silent = is_unreached(machine, case.situation)
    return None if silent is None else f"{machine.name} waits for {silent}, which does not answer"


def movable(case: Case) -> list[MachineSituation]:
    """Return the VMs of a move that can go now."""
    return [one for one in left(case) if hindrance(one, case) is None]


def planned(case: Case) -> Told | None:
    """A person ordered a move, and a VM of it can go."""
    if not case.moves or not movable(case):
        return None
    return Told(f"{case.moves[0].by} ordered it")


def planned_waits(case: Case) -> Told | None:
    """A person ordered a move, and none of its VMs can go."""
    held = _held(case)
    if not case.moves or not held:
        return None
    return Told(f"{case.moves[0].by} ordered it, and {'; '.join(held)}", _waits_for(case))


def _held(case: Case) -> list[str]:
    return list(dict.fromkeys(why for one in left(case)
                              if (why := hindrance(one, case)) is not None))


def _waits_for(case: Case) -> tuple[str, ...]:
    silent = [is_unreached(one, case.situation) for one in left(case) if not one.move_failed]
    return tuple(dict.fromkeys(name or PERSON for name in silent)) or (PERSON,)


def moving(case: Case) -> Told | None:
    """A VM of it is not where it is to go, and can."""
    names = [one.name for one in movable(case)]
    return Told(listed(names), tuple(names)) if names else None


def move_failed(case: Case) -> Told | None:
    """Each VM of it that is left cannot be moved; it is whole where it was."""
    held = _held(case)
    return None if movable(case) or not held else Told("; ".join(held), (PERSON,))


def called_off(case: Case) -> Told | None:
    """The VMs that are left cannot be moved, and none of them ever failed over."""
    if case.record is not None and case.record.machines:
        return None
    return move_failed(case)


def moved(case: Case) -> Told | None:
    """Every VM of it is where it was to go."""
    return None if left(case) else Told("all of them run there")

"""Epochs: which copy is the VM, after it failed over, and which copies are older.

A VM that never failed over has epoch 0, and so has each of its copies. A failover gives it a higher
one, which is written to the records on the survivors and to the mark of the domain that was started
there. From then on a copy of a lower epoch is superseded, wherever it is and whatever it does: it
is not where the VM is, nothing is patched, moved, copied or started there. It is ended if it runs,
and its disks stay until somebody releases them.

Rule 1: the highest epoch that anybody holds is right: a mark on a domain, or a record whose phase
        says that the VM was promoted; seen now or last seen.
"""

from collections.abc import Iterable, Mapping

from controller.model.facts import DomainFacts, Fact, NodeFacts
from controller.model.failover.record import HELD_EPOCHS, Record
from controller.plan.survey.identity import HostIndex, Names, Sighting, domain_uuids, is_for
from controller.plan.survey.silence import last_of

Sightings = Mapping[str, tuple[Sighting, ...]]


def records_of(nodes: Mapping[str, Fact[NodeFacts]]) -> dict[str, Record]:
    """Return, by scope, the record that holds: of all nodes, seen now or last seen."""
    found: dict[str, Record] = {}
    for fact in nodes.values():
        node = last_of(fact)
        for scope, record in ((last_of(node.records) if node is not None else None) or {}).items():
            if not record.unreadable and (
                    scope not in found or found[scope].rank < record.rank):
                found[scope] = record
    return found


def epochs_of(indexes: Iterable[HostIndex], records: Iterable[Record],
              names: Names) -> dict[str, int]:
    """Return the epoch of every VM that ever failed over."""
    found: dict[str, int] = {}
    for index in indexes:
        for name, epoch in index.epochs:
            found[name] = max(epoch, found.get(name, 0))
    for record in records:
        for machine in record.machines if record.phase in HELD_EPOCHS else ():
            name = names.present.get(machine, machine)
            found[name] = max(record.epoch, found.get(name, 0))
    return found


def epoch_of(domain: DomainFacts, names: Names) -> int:
    """Return the epoch of a copy of a VM; one without a mark of ours never failed over."""
    mark = domain.ownership
    return mark.epoch if mark is not None and is_for(mark, domain, names) else 0


def uuids_of(epochs: Mapping[str, int], groups: Iterable[Sightings], records: Iterable[Record],
             names: Names) -> dict[str, frozenset[str]]:
    """Return, by VM that ever failed over, every UUID that a copy of it has or had.

    Whatever else is only called as the VM is another machine, and no copy that could be ended.
    """
    found = {name: {*domain_uuids(names, name)} for name in epochs}
    for record in records if found else ():
        for machine, one in record.machines.items():
            found.get(names.present.get(machine, machine), set()).add(one.uuid)
    for group in groups if found else ():
        for name in found.keys() & group.keys():
            found[name] |= {one.domain.uuid for one in group[name]
                            if is_for(one.domain.ownership, one.domain, names)}
    return {name: frozenset(uuids) for name, uuids in found.items()}


def split(sightings: Sightings, epochs: Mapping[str, int], uuids: Mapping[str, frozenset[str]],
          names: Names) -> tuple[Sightings, Sightings]:
    """Return the copies that are the VM, and those that are superseded."""
    if epochs.keys().isdisjoint(sightings):
        return sightings, {}
    current, older = dict(sightings), {}
    for name in epochs.keys() & sightings.keys():
        behind = tuple(one for one in sightings[name]
                       if epoch_of(one.domain, names) < epochs[name])
        old = tuple(one for one in behind if one.domain.uuid in uuids[name])
        left = tuple(one for one in sightings[name] if one not in behind)
        if old:
            older[name] = old
        if left:
            current[name] = left
        else:
            del current[name]
    return current, older

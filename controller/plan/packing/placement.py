"""Placement: which host each machine belongs on, with the fewest moves, always the same answer.

Rule 1: a machine stays where it is unless its pin, site, pools or group forbid that, or its host
        is drained or too full.
Rule 2: memory is hard and CPUs have a ratio. A host that does not accept is never a destination.
Rule 3: equal hosts, machines and limits give an equal placement; ties go by name.
"""

from collections.abc import Iterable, Mapping

from controller.model.units import render_size
from controller.plan.packing.packing import Demand, Packing, nothing_to_move
from controller.plan.packing.problem import Limits, PlaceHost, PlaceMachine, Placement


def arrange(hosts: tuple[PlaceHost, ...], machines: Iterable[PlaceMachine],
            current: Mapping[str, str], limits: Limits,
            demand: Demand = nothing_to_move) -> tuple[Packing, Placement]:
    """Return where each machine belongs, and the packing that shows it.

    A machine that should leave and cannot keeps its room, so all others are placed again around it.
    """
    ordered = sorted(machines)
    staying: dict[str, str] = {}
    while True:
        packing = Packing(hosts, limits, demand)
        unplaced = _place_once(packing, ordered, current, staying)
        left = {name: sentence for name, sentence in unplaced.items()
                if current.get(name) in packing.hosts and name not in staying}
        if not any(packing.overfull(current[name]) for name in left):
            return packing, packing.result(current, unplaced | staying)
        staying |= left


def _place_once(packing: Packing, machines: list[PlaceMachine], current: Mapping[str, str],
                staying: Mapping[str, str]) -> dict[str, str]:
    """Fill the packing, and return, by machine that fits nowhere, why."""
    hostless = packing.load(machines, current)
    displaced = packing.violations([one for one in machines if one.name not in staying], staying)
    gone = {machine.name: f"its host {current[machine.name]} is gone" for machine in hostless
            if machine.name in current}
    candidates = [(machine, gone.get(machine.name, "")) for machine in hostless] + displaced
    candidates.sort(key=lambda one: (one[0].host is None, -one[0].memory_bytes, one[0].name))
    for machine, _ in displaced:
        packing.remove(machine)
    packing.build_heaps(len(candidates))
    left = [candidate for candidate in candidates if not packing.place(candidate[0], candidate[1])]
    unplaced: dict[str, str] = {}
    complaints: dict[tuple[object, ...], str] = {}
    for machine, why in left:
        source = current.get(machine.name)
        if packing.make_room(machine, why, source):
            continue
        like = (*machine[1:], None if machine.host is None else machine.name)
        if like not in complaints:
            complaints[like] = complaint(machine, packing)
        unplaced[machine.name] = complaints[like]
        if source in packing.hosts:
            packing.put(machine, source)
    return unplaced


def complaint(machine: PlaceMachine, packing: Packing) -> str:
    """Return, as a sentence, why no host can take `machine`."""
    gib = machine.memory_bytes / (1 << 30)
    size = f"{gib:.3g} GiB of memory and {machine.cpus} CPUs"
    if machine.host is not None:
        return _pinned(machine, machine.host, packing, size)
    where = " or ".join(machine.sites) if machine.sites else "the estate"
    open_hosts = [host for host in packing.hosts.values() if host.accepts
                  and (not machine.sites or host.site in machine.sites)]
    if not open_hosts:
        return f"no host of {where} takes machines now"
    able = [host for host in open_hosts if host.offers.issuperset(machine.needs)]
    if not able:
        return f"no host of {where} has the pools {', '.join(machine.needs)}"
    lacking = _lacking(machine, able, packing, where)
    if lacking is not None:
        return lacking
    most = max(packing.free[host.name] for host in able)
    if most < machine.memory_bytes:
        return (f"no host of {where} has room for {size}: the most that is free on one is"
                f" {max(0, most) / (1 << 30):.3g} GiB")
    if machine.groups:
        return (f"every host of {where} with room for {size} has another of its group"
                f" ({', '.join(machine.groups)}), or its CPUs are all given out")
    return f"the CPUs of every host of {where} with room for it are all given out"


def _lacking(machine: PlaceMachine, hosts: list[PlaceHost], packing: Packing,
             where: str) -> str | None:
    """Return that no host has enough huge pages or pool space; None if it is neither."""
    most = max(packing.huge[host.name] for host in hosts)
    if most < machine.huge_bytes:
        return (f"no host of {where} has {render_size(machine.huge_bytes)} of huge pages left: the"
                f" most on one is {render_size(max(0, most))}; set more aside")
    if any(packing.has_space(machine, host.name) for host in hosts):
        return None
    size = ", ".join(f"{render_size(size_bytes)} in pool {pool}"
                     for pool, size_bytes in packing.demand(machine.name)[1])
    return (f"no host of {where} is seen to have room for its disks ({size}): free space there")


def _pinned(machine: PlaceMachine, host: str, packing: Packing, size: str) -> str:
    pin = packing.hosts.get(host)
    if pin is None or not pin.accepts:
        return (f"{machine.name} is pinned to {host}, which takes nothing now:"
                " bring that host back, or pin it elsewhere")
    if packing.groups[pin.name] and any(g in packing.groups[pin.name] for g in machine.groups):
        return (f"{machine.name} is pinned to {host}, where another of its group is:"
                " pin one of them elsewhere")
    lacking = _lacking(machine, [pin], packing, pin.name)
    if lacking is not None:
        return lacking
    return (f"{machine.name} is pinned to {host}, which has no room for {size}"
            f" ({packing.free[pin.name] / (1 << 30):.3g} GiB free)")

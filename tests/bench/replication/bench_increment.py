"""The copy cycle: an increment of a small and a large disk, and a cycle without a change."""

import os
from typing import NamedTuple

from controller.plan.actions.replica import CopyMode
from tests.bench.figure import Figure
from tests.bench.replication.machine import IMAGES, Machine
from tests.bench.replication.ours import Conductor, Cycle, Replica, conductor
from tests.bench.replication.peers import SCRATCH, rsync, rsync_wire_bytes, virtnbdbackup
from tests.bench.replication.scale import Scale, hosts, title

QUIET = 7
"""Cycles without a change that are measured; they are short."""


class Turn(NamedTuple):
    """One change, brought over by us and by rsync."""

    dirty_bytes: int
    ours: Cycle
    rsync_s: float
    rsync_wire_bytes: int


class OfDisk(NamedTuple):
    """All that was measured on one disk; `turns` by whether the change was scattered."""

    size_bytes: int
    turns: dict[bool, list[Turn]]
    noise: dict[bool, list[float]]
    """Bytes on the wire for each byte that the guest wrote."""
    quiet: list[Cycle]
    backups: dict[bool | None, list[float]]
    """Seconds of virtnbdbackup by the same changes, and by None without one."""


def figures(scale: Scale) -> list[Figure]:
    """Return the figures of both disks, and how they compare."""
    with conductor() as hands:
        small, large = (of_disk(hands, size, scale) for size in scale.sizes)
    found: list[Figure] = []
    for scattered in (False, True):
        name = f"increment, {scale.change('text', scattered=scattered).title}"
        found += increments(name, scattered, small, large)
    return [*found, *quiet(small), *quiet(large)]


def of_disk(hands: Conductor, size: int, scale: Scale) -> OfDisk:
    """Make a disk, copy all of it, then change it and change it again; virtnbdbackup comes first.

    It works on no disk that another program tracks, so it cannot take turns with us.
    """
    source, target = hosts()
    machine = Machine(source, f"bench-{title(size).replace(' ', '').lower()}", size)
    replica = Replica(hands, machine, target)
    try:
        backups = backed_up(machine, scale)
        replica.cycle(CopyMode.SEED)
        rsync(machine, target)
        turns = {scattered: [turn(replica, scale, number, scattered=scattered)
                             for number in range(scale.rounds)] for scattered in (False, True)}
        noise = {scattered: [wire_share(replica, scale, number, scattered=scattered)
                             for number in range(scale.rounds)] for scattered in (False, True)}
        return OfDisk(size, turns, noise, [replica.cycle() for _ in range(QUIET)], backups)
    finally:
        replica.remove()
        machine.remove()
        target.remove(f"{IMAGES}/{machine.name}-rsync.qcow2")


def backed_up(machine: Machine, scale: Scale) -> dict[bool | None, list[float]]:
    """Return how long virtnbdbackup takes for each change, and clear all away that it made."""
    folder = f"{SCRATCH}/{machine.name}-virtnbdbackup"
    try:
        virtnbdbackup(machine, "full")
        found: dict[bool | None, list[float]] = {None: [], False: [], True: []}
        for scattered in (False, True):
            for number in range(scale.rounds):
                machine.change(scale.change("text", scattered=scattered), 200 + number)
                found[scattered].append(virtnbdbackup(machine, "inc").wall_s)
        found[None] = [virtnbdbackup(machine, "inc").wall_s for _ in range(scale.rounds)]
        return found
    finally:
        machine.node.remove(folder)
        for name in machine.node.virsh("checkpoint-list", machine.name, "--name").split():
            machine.node.virsh("checkpoint-delete", machine.name, name)


def turn(replica: Replica, scale: Scale, number: int, *, scattered: bool) -> Turn:
    """Change text and bring it over, first by us, then by rsync."""
    machine = replica.machine
    dirty = machine.change(scale.change("text", scattered=scattered), number)
    ours = replica.cycle()
    os.sync()
    copied = rsync(machine, replica.target)
    return Turn(dirty, ours, copied.wall_s, rsync_wire_bytes(copied.output))


def wire_share(replica: Replica, scale: Scale, number: int, *, scattered: bool) -> float:
    """Change noise and return how many bytes on the wire each written byte took."""
    change = scale.change("noise", scattered=scattered)
    replica.machine.change(change, 100 + number)
    return replica.cycle().wire_bytes / change.total_bytes


def increments(name: str, scattered: bool, small: OfDisk, large: OfDisk) -> list[Figure]:
    """Return the figures of one kind of change."""
    found = []
    for disk in (small, large):
        turns = disk.turns[scattered]
        ours = tuple(each.ours.wall_s for each in turns)
        where = f"{name}, {title(disk.size_bytes)}"
        found += [
            Figure(where, "s", ours, peer="virtnbdbackup, to a disk of the same host",
                   peer_samples=tuple(disk.backups[scattered]),
                   ratio_at_least=1.25),
            Figure(f"{where}, beside rsync", "s", ours, peer="rsync over ssh",
                   peer_samples=tuple(each.rsync_s for each in turns),
                   ratio_at_least=10.0 if disk is large else None),
            Figure(f"{where}: on the wire for each dirty byte, text", "B",
                   tuple(each.ours.wire_bytes / each.dirty_bytes for each in turns), limit=0.5,
                   peer="rsync", peer_samples=tuple(
                       each.rsync_wire_bytes / each.dirty_bytes for each in turns)),
            Figure(f"{where}: on the wire for each byte written, noise", "B",
                   tuple(disk.noise[scattered]), limit=1.5 if scattered else 1.01),
        ]
    pairs = zip(small.turns[scattered], large.turns[scattered], strict=True)
    grown = f"{title(large.size_bytes)} of {title(small.size_bytes)}"
    return [*found, Figure(f"{name}: time at {grown}", "x", tuple(
        more.ours.wall_s / less.ours.wall_s for less, more in pairs), limit=1.15)]


def quiet(disk: OfDisk) -> list[Figure]:
    """Return the figures of a cycle in which nothing had changed."""
    name = f"cycle without a change, {title(disk.size_bytes)}"
    own_s = sorted(each.controller_cpu_s for each in disk.quiet)[len(disk.quiet) // 2]
    return [
        Figure(name, "s", tuple(each.wall_s for each in disk.quiet), limit=1.2,
               peer="virtnbdbackup", peer_samples=tuple(disk.backups[None])),
        Figure(f"{name}: processors of both hosts", "s",
               tuple(each.hosts_cpu_s for each in disk.quiet), limit=0.2,
               note=f"and the controller {own_s:.2f} s"),
    ]

"""
A drill: restore points are started beside their replicas, in a network of their own, and judged.

    lock       of each replica's drill; what an earlier drill has left is taken away first
    watchdog   forked before anything is made: it takes all away when this process or the controller
               is gone, or the time is up (remains.py)
    pin        no file that the point reads goes meanwhile; copies go on as ever
    serve      the point, for reading alone, to QEMU (serving.py)
    overlays   in REPLICA/drill/: all that the guest writes
    prober     plays the gateways, where a policy wants a port or a ping (prober.py)
    create     a transient domain, by another name and UUID, on a bridge without any uplink
    judge      until all serve as declared, the time is over, or an overlay grows too large
    take away  by the watchdog; the result is noted in state.json with the commit that unpins

The files of the replica are opened for reading alone. A controller that goes away ends the drill,
as the end of this process's standard input.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
import xml.etree.ElementTree as ET
from typing import Any, Dict, List, NamedTuple, Optional, Set

from mover.backup.offline import DiskServers, stop
from mover.backup.virsh import VirshError, virsh
from mover.drill import bridges, isolated, serving
from mover.drill.calls import Calls
from mover.drill.judging import Judge
from mover.drill.prober import Prober, Wire, ports_of
from mover.drill.remains import (
    PASSABLE,
    PIN,
    drill_uuid,
    folder_of,
    hold,
    read_plan,
    take_away_stubbornly,
    write_plan,
)
from mover.drill.screens import has_display, keep_screen
from mover.drill.watchdog import Watchdog
from mover.errors import MoverError, Refused, TryAgain
from mover.failover.definition import Place, nvram_of, parse_definition, render, targets_of
from mover.failover.overlay import Layer, layers_of
from mover.failover.pin import finish_merges
from mover.failover.promote import held_part, require_whole, text_of
from mover.image.qcow2_writer import Backing, write_empty
from mover.replica.replica import Replica, locked, write_whole
from mover.replica.scrub import note_missing_files
from mover.replica.state import Point, State, chain, point_of
from mover.requests import Requests
from mover.verbs import say

LOOK_S = 0.25
EARLIER_S = 10.0                # to take away what an earlier drill has left
CLEAR_S = 60.0                  # the same, of this one, if its watchdog was killed
CREATE_S = 60.0
LEAST_FREE = 512 << 20          # of the pool, and of memory: a drill gives way to production


class Machine(NamedTuple):
    """One VM of a drill; `without`: targets of disks that it may lack."""

    machine: str
    uuid: str
    replica: str
    sequence: int
    memory_bytes: int
    health: Dict[str, Any]
    without: List[str]
    content: str                # what was declared of it, as a digest
    estate: str
    address: str                # where it is asked over the network; empty: it is not known
    mac: str                    # of the card that has that address
    vlans: Dict[str, str]       # by MAC: the declared tag of a card


class Held(NamedTuple):
    """One disk of the point: its files, uppermost first, and its size."""

    layers: List[Layer]
    size_bytes: int


def run(words: List[str]) -> None:
    """
    Drill {"limit_s", "grow_bytes", "by", "absent", "gateways": [{"tag", "address"}, …],
    "machines": [Machine, …]}.

    Says {"ready"}, then one line as each VM is started, then {"drilled": [result, …]}.
    """
    request = Requests().request
    say({"ready": True}, 1)
    machines = [_machine(fields) for fields in request["machines"]]
    say({"drilled": Drill(request, machines).run()}, 1)


def _machine(fields: Dict[str, Any]) -> Machine:
    try:
        one = Machine(**fields)
        drill_uuid(one.uuid)
        return one._replace(sequence=int(one.sequence), replica=os.path.abspath(one.replica))
    except (TypeError, ValueError) as error:
        raise Refused("the request cannot be read: %s" % error) from None


def is_gone(wait_s: float = 0.0) -> bool:
    """Return whether the controller has gone, waiting so long for that."""
    return bool(select.select([0], [], [], wait_s)[0]) and not os.read(0, 1 << 16)


class Drill:
    """One drill of VMs whose replicas this host holds."""

    def __init__(self, request: Dict[str, Any], machines: List[Machine]) -> None:
        self.machines = machines
        self.limit_s, self.grow_bytes = float(request["limit_s"]), int(request["grow_bytes"])
        self.by, self.absent = str(request.get("by", "")), str(request.get("absent", ""))
        self.gateways = [(str(one["tag"]), str(one["address"]))
                         for one in request.get("gateways", ())]
        self.roots = [one.replica for one in machines]
        self.ovs = bridges.has_ovs()
        self.base = bridges.BRIDGE + drill_uuid(machines[0].uuid)[:8]
        self.results: Dict[str, Dict[str, Any]] = {}
        self.served: List[DiskServers] = []
        self.prober: Optional[Prober] = None
        self.shown: Set[str] = set()        # replicas whose guests have a display

    def run(self) -> List[Dict[str, Any]]:
        """Hold the drill and return what came of each VM, once nothing of it is left."""
        _require_room(sum(one.memory_bytes for one in self.machines), self.roots)
        with contextlib.ExitStack() as stack:
            for root in self.roots:
                stack.callback(os.close, hold(root))
            _clear_earlier(self.roots)
            watchdog = Watchdog(self.roots, self.limit_s + CLEAR_S + CREATE_S * len(self.roots))
            try:
                self._hold()
            finally:
                if self.prober is not None:
                    self.prober.close()
                stays = watchdog.end(self.results)
                for served in self.served:
                    stop(served)
            if stays is None:       # it was killed
                stays = take_away_stubbornly(self.roots, self.results, CLEAR_S)
        return [{**self.results[one.replica], **({"stays": stays[one.replica]}
                                                 if one.replica in stays else {})}
                for one in self.machines if one.replica in self.results]

    def _hold(self) -> None:
        judges: List[Judge] = []
        definitions = self._definitions()
        networks = self._make_network(definitions)
        calls = self._calls(networks)
        for one in self.machines:
            begun = time.monotonic()
            if one.replica not in definitions:
                continue
            try:
                left = self._start(one, definitions[one.replica], networks)
            except (MoverError, VirshError) as error:
                self._note_unstarted(one, error)
                continue
            judges.append(Judge(one.replica, drill_uuid(one.uuid), one.health, begun, left,
                                calls[one.replica], self.absent))
            say({"started": one.machine, "after_s": judges[-1].start_s}, 1)
        until = time.monotonic() + self.limit_s
        while any(not judge.over for judge in judges) and time.monotonic() < until:
            for judge in judges:
                judge.look()
                for each in judges:     # one that is long in answering holds up no other's limit
                    self._limit(each)
            if is_gone(LOOK_S):
                for judge in judges:
                    judge.end("cut off", "the controller went away in the middle of it")
        for judge in judges:
            judge.finish()
            one = next(one for one in self.machines if one.replica == judge.root)
            screen = self._screen(one, judge)
            self._note(one, judge.outcome, judge.sentence, boot_s=judge.start_s,
                       health_s=judge.serves_s, grown_bytes=judge.grown_bytes(),
                       left_out=judge.left_out, **screen)

    def _screen(self, one: Machine, judge: Judge) -> Dict[str, str]:
        """Return where a screenshot is kept of what a guest shows at the end, if it shows any."""
        if one.replica not in self.shown or judge.outcome == "cut off":
            return {}
        try:
            return {"screen": keep_screen(one.replica, judge.uuid, one.sequence)}
        except TryAgain as error:
            judge.left_out.append("a screenshot (%s)" % error)
            return {}

    def _make_network(self, definitions: Dict[str, ET.Element]) -> Dict[str, str]:
        """Write down what is made, make the bridges, and return them by VLAN tag."""
        for one in self.machines:
            if one.replica in definitions:
                isolated.tag_cards(definitions[one.replica], one.vlans)
        networks = bridges.bridges_of(self.base, {
            tag for domain in definitions.values() for tag in isolated.tags_of(domain)},
            ovs=self.ovs)
        made = sorted(set(networks.values()))
        for one in self.machines:
            if one.replica in definitions:
                write_plan(one.replica, {
                    "uuid": drill_uuid(one.uuid), "name": isolated.PREFIX + one.machine,
                    "bridges": made, "ports": ports_of(self.base, len(self.gateways))})
        for bridge in made:
            bridges.make_bridge(bridge, ovs=self.ovs)
        return networks

    def _calls(self, networks: Dict[str, str]) -> Dict[str, Calls]:
        """Return, by replica, how each VM is asked over the network; set the prober up for it."""
        wires = [Wire(networks[tag], tag, address) for tag, address in self.gateways
                 if tag in networks]
        found = {one.replica: Calls.of(one.health, one.address, one.mac, [
            wire.address for wire in wires]) for one in self.machines}
        questions = [each for one in found.values() for each in one.questions]
        if questions:
            try:
                self.prober = Prober(self.base, wires, ovs=self.ovs)
                self.prober.check(questions)
            except TryAgain as error:
                return {root: one.without(str(error)) for root, one in found.items()}
        return {root: one._replace(prober=self.prober) for root, one in found.items()}

    def _limit(self, judge: Judge) -> None:
        """
        End a guest that writes more than it may, before anything else lacks the room.

        One that is decided already runs on for the others of its group, and is ended, too.
        """
        grown_bytes = judge.grown_bytes()
        if grown_bytes > self.grow_bytes:
            why = "it has written %d MiB within its drill, and %d MiB is the limit" % (
                grown_bytes >> 20, self.grow_bytes >> 20)
        elif _free_bytes(judge.root) < LEAST_FREE:
            why = "the pool has less than %d MiB left" % (LEAST_FREE >> 20)
        else:
            return
        judge.end("cut off", why)
        with contextlib.suppress(VirshError):       # the watchdog tries again
            virsh("destroy", judge.uuid)
            if judge.outcome != "cut off":
                judge.sentence += "; it was ended after that: " + why

    def _note(self, one: Machine, outcome: str, sentence: str, **more: Any) -> None:
        self.results[one.replica] = {
            "machine": one.machine, "sequence": one.sequence, "outcome": outcome,
            "sentence": sentence, "at": time.time(), "content": one.content, "by": self.by,
            "with": [other.machine for other in self.machines if other is not one], **more}

    def _definitions(self) -> Dict[str, ET.Element]:
        """Return, by replica, the definition that its point holds, where it can be read."""
        found = {}
        for one in self.machines:
            try:
                note_missing_files(one.replica)
                _point(Replica(one.replica).state, one.sequence)
                where = os.path.join(one.replica, "meta", "%06d" % one.sequence, "domain.xml")
                found[one.replica] = parse_definition(text_of(where), where)
            except MoverError as error:
                self._note_unstarted(one, error)
        return found

    def _note_unstarted(self, one: Machine, error: Exception) -> None:
        """Note why a point was not started; what is wrong with something else says nothing of it.
        """
        self._note(one, "cut off" if isinstance(error, TryAgain) else "failed", str(error))

    def _start(self, one: Machine, domain: ET.Element, networks: Dict[str, str]) -> List[str]:
        """Start one VM's point; return what was left out of it."""
        root, name, uuid = one.replica, isolated.PREFIX + one.machine, drill_uuid(one.uuid)
        for path in (os.path.dirname(root), root):
            _let_pass(path)
        disks = _pin(one, domain)
        self.served.append(serving.serve(name, {disk: held.layers for disk, held in disks.items()},
                                         serving.qemu_user()))
        sockets = self.served[-1].sockets
        made = _definition(one, domain, disks, sockets)
        left = ["its medium %s" % medium for medium in isolated.put_on_served(made, sockets)]
        if has_display(made):
            self.shown.add(root)
        left += isolated.isolate(made, name, uuid, networks, ovs=self.ovs)
        if is_gone():
            raise TryAgain("the controller went away before it was started")
        virsh("create", files=(ET.tostring(made, encoding="unicode"),), patience_s=CREATE_S)
        return left


def _point(state: State, sequence: int) -> Point:
    """Return the point; TryAgain where it was let go meanwhile, or its replica is none any more."""
    if "promoted" in state.facts:
        raise TryAgain("the replica has become the VM: it is not drilled")
    try:
        return point_of(state, sequence)
    except Refused as error:
        raise TryAgain(str(error)) from None


def _pin(one: Machine, domain: ET.Element) -> Dict[str, Held]:
    """Pin the point and return its disks; from then on its files stay as they are."""
    with locked(one.replica, patience_s=10) as replica:
        state, point = replica.state, _point(replica.state, one.sequence)
        if (domain.findtext("uuid") or "").strip() != one.uuid or state.vm != one.uuid:
            raise Refused("%s holds the replica of %s, not of %s" % (
                one.replica, state.vm, one.uuid))
        disks = require_whole(one.without, point, targets_of(domain))
        finish_merges(replica)
        replica.commit(replica.state._replace(pins={**replica.state.pins, PIN: one.sequence}))
        return {disk: Held(layers_of(replica, disk, one.sequence),
                           chain(replica.state, disk, one.sequence)[-1].size_bytes)
                for disk in disks}


def _definition(one: Machine, domain: ET.Element, disks: Dict[str, Held],
                sockets: Dict[str, str]) -> ET.Element:
    """Make the overlays and the NVRAM, and return the definition with the drill's mark."""
    root, folder = one.replica, folder_of(one.replica)
    places = {disk: Place(os.path.join(folder, disk + ".qcow2"), []) for disk in disks}
    for disk, held in disks.items():
        _make_overlay(places[disk].overlay, held.size_bytes, sockets[disk])
    nvram = os.path.join(folder, "nvram") if nvram_of(domain, 0) else ""
    held_nvram = held_part(root, point_of(Replica(root).state, one.sequence), "nvram")
    if nvram and held_nvram is not None:
        write_whole(nvram, held_nvram)
    return ET.fromstring(render(domain, places, nvram, {
        "estate": one.estate, "name": isolated.PREFIX + one.machine, "role": "drill",
        "domain": isolated.PREFIX + one.machine, "uuid": drill_uuid(one.uuid)}).xml)


def _make_overlay(path: str, size_bytes: int, socket: str) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        write_empty(fd, size_bytes, Backing("nbd+unix:///?socket=" + socket, "raw"))
    finally:
        os.close(fd)


def _let_pass(folder: str) -> None:
    mode = os.stat(folder).st_mode & 0o777
    if mode | PASSABLE != mode:
        os.chmod(folder, mode | PASSABLE)


def _clear_earlier(roots: List[str]) -> None:
    """Take away what an earlier drill has left, whose conductor and watchdog are gone."""
    left = take_away_stubbornly([root for root in roots if read_plan(root)], {}, EARLIER_S)
    if left:
        raise TryAgain("what an earlier drill left is still there: %s" % "; ".join(left.values()))


def _require_room(memory_bytes: int, roots: List[str]) -> None:
    with open("/proc/meminfo", encoding="ascii") as file:
        free_bytes = next(int(line.split()[1]) << 10 for line in file
                          if line.startswith("MemAvailable"))
    if free_bytes < memory_bytes + LEAST_FREE:
        raise TryAgain("no room: the drill wants %d MiB of memory, %d MiB are free, and %d MiB of"
                       " these stay free" % (memory_bytes >> 20, free_bytes >> 20,
                                             LEAST_FREE >> 20))
    for root in roots:
        if _free_bytes(root) < 2 * LEAST_FREE:
            raise TryAgain("no room: the pool of %s has %d MiB left" % (
                root, _free_bytes(root) >> 20))


def _free_bytes(root: str) -> int:
    pool = os.statvfs(root)
    return pool.f_bavail * pool.f_frsize

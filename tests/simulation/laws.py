"""The laws as questions to the world: whatever the controller believes, this is what is true."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from controller.errors import Refused, Unavailable
from controller.model.desired import Desired
from controller.model.facts import Fact, Known, NodeFacts
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Action
from controller.plan.actions.machine import (
    DefineDomain,
    MigrateDomain,
    RemoveDomain,
    StartDomain,
)
from controller.plan.actions.network import NarrowTrunk
from controller.plan.actions.storage import CreateDisk
from controller.providers.base import Provider
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.world import Domain, File, Node, executes
from controller.store.store import Store
from tests.simulation.restore_points import RestorePoints
from tests.simulation.truth import STRANGERS

SILENT_S = 8.0
"""Before anything is created every host is asked; by then that question has gone unanswered."""


@dataclass
class Laws:
    """Looks at the world after every step and notes what must never be."""

    estate: SimulatedEstate
    store: Store
    broken: list[str] = field(default_factory=list)
    expendable: set[str] = field(default_factory=set)
    """VMs whose data a spec allows to be deleted."""
    newest: dict[str, int] = field(default_factory=dict)
    """By content: how far any guest has ever written."""
    silent_since: dict[str, float] = field(default_factory=dict)
    unclear: dict[str, set[str]] = field(default_factory=dict)
    """By target: nodes that must be looked at before anything else is done to it."""
    strangers: dict[tuple[str, str], float] = field(default_factory=dict)
    """By host and name: since when somebody's guest has been there."""
    seen_since: dict[tuple[str, str], float] = field(default_factory=dict)
    """By host and name: since when a domain has been running there."""
    points: RestorePoints = field(init=False)

    def __post_init__(self) -> None:
        """Remember restore points from the start."""
        self.points = RestorePoints(self.estate.world, self.break_)

    def break_(self, law: str) -> None:
        """Note that a law was broken."""
        at = self.estate.world.now()
        self.broken.append(f"{at:.2f}: {law}")

    def look(self, node: str = "") -> None:
        """Check everything that must hold at every instant."""
        world = self.estate.world
        for name in sorted(world.nodes):
            if world.reachable(name):
                self.silent_since.pop(name, None)
            else:
                self.silent_since.setdefault(name, world.now())
        for host in world.nodes.values():
            for name in host.domains:
                if name.startswith(STRANGERS):
                    self.strangers.setdefault((host.name, name), world.now())
        self._single_copies()
        running = {(node.name, one.name) for node in world.nodes.values()
                   for one in node.domains.values() if executes(one)}
        self.seen_since = {one: self.seen_since.get(one, world.now()) for one in running}
        self.points.look()
        self._data()

    def _single_copies(self) -> None:
        """Nothing that runs has the uuid, a card or a file of a VM of ours that runs, too."""
        running: dict[object, list[str]] = {}
        ours: set[object] = set()
        for node in self.estate.world.nodes.values():
            for domain in node.domains.values():
                if executes(domain):
                    for trait in self._traits(node, domain):
                        running.setdefault(trait, []).append(f"{domain.name} on {node.name}")
                        ours |= {trait} if domain.ownership is not None else set()
        for copies in sorted({tuple(running[trait]) for trait in ours}):
            if len(copies) > 1:
                self.break_(f"two running copies: {' and '.join(copies)}")

    def _traits(self, node: Node, domain: Domain) -> set[object]:
        """What tells a domain from all others."""
        world, config = self.estate.world, domain.live or domain.config
        disks = config.disks if config is not None else ()
        files = {id(file) for disk in disks if (file := world.file(node, disk.source))}
        cards = {nic.mac for nic in config.nics} if config is not None else set()
        return {domain.uuid, *files, *cards}

    def _data(self) -> None:
        """The newest content of every disk is still there, and whatever runs, runs on it."""
        world = self.estate.world
        found = dict[str, int]()
        for file in self._files():
            found[file.serial] = max(file.writes, found.get(file.serial, 0))
        for serial, writes in sorted(self.newest.items()):
            if found.get(serial, -1) < writes and serial.rpartition("-")[0] not in self.expendable:
                self.break_(f"the newest data of {serial} is gone")
                self.newest[serial] = found.get(serial, -1)
        for serial in found:
            if not serial.startswith("partial-"):
                self.newest.setdefault(serial, found[serial])
        for node in world.nodes.values():
            for domain in node.domains.values():
                if not executes(domain) or domain.live is None:
                    continue
                for disk in domain.live.disks:
                    self._write(world.file(node, disk.source), domain.name)

    def _write(self, file: File | None, vm: str) -> None:
        """Let a running guest write, and see that nobody runs on yesterday's data."""
        if file is None:
            return
        if file.writes < self.newest.get(file.serial, 0):
            self.break_(f"{vm} runs on old data")
        file.writes += 1
        self.newest[file.serial] = max(file.writes, self.newest.get(file.serial, 0))

    def _files(self) -> list[File]:
        world = self.estate.world
        stores = [store for node in world.nodes.values()
                  for store in (node.files, node.unmounted_files)]
        return [file for store in stores for file in store.values()]

    def before(self, action: Action) -> None:
        """Check what must be true before anything is done."""
        if action.id not in {intent.action_id for intent in self.store.open_intents()}:
            self.break_(f"{action.id} began without an intent in the journal")
        unclear = self.unclear.get(action.target, set()) & set(action.nodes)
        if unclear:
            self.break_(f"{action.id} was begun before {', '.join(sorted(unclear))} was looked at"
                        " again")
        self._of_silent_hosts(action)
        self._of_strangers(action)
        self._of_others(action)
        self.points.before(action)

    def _of_strangers(self, action: Action) -> None:
        """No VLAN is taken that somebody's guest, seen long enough ago, uses at that site."""
        if not isinstance(action, NarrowTrunk):
            return
        world = self.estate.world
        for node in world.nodes.values():
            for domain in node.domains.values():
                vlans = {nic.vlan for nic in domain.config.nics} if domain.config else set()
                at = self.strangers.get((node.name, domain.name))
                if (domain.name.startswith(STRANGERS) and node.site == world.node(action.node).site
                        and vlans & set(action.lost) and at is not None
                        and world.now() - at > SILENT_S):
                    self.break_(f"{action.id} takes VLAN {vlans} from {domain.name}")

    def _of_silent_hosts(self, action: Action) -> None:
        """Nothing is created, started or removed that may live on a host that says nothing."""
        if not isinstance(action, CreateDisk | DefineDomain | StartDomain | RemoveDomain):
            return
        world, vm = self.estate.world, action.target.partition("/")[2]
        for name, since in sorted(self.silent_since.items()):
            if world.now() - since < SILENT_S or name == action.node:
                continue
            for domain in world.node(name).domains.values():
                mark = domain.ownership
                is_it = domain.name == vm or (mark is not None and mark.name == vm
                                              and mark.uuid == domain.uuid)
                if is_it and (executes(domain) or not isinstance(action, StartDomain)):
                    self.break_(f"{action.id} while {name}, which has {vm}, has been silent for"
                                f" {world.now() - since:.0f} s")

    def _of_others(self, action: Action) -> None:
        """Nothing is begun on a host on which another domain runs with its uuid, card or file."""
        if not isinstance(action, DefineDomain | StartDomain | MigrateDomain):
            return
        node = self.estate.world.node(action.node)
        if isinstance(action, DefineDomain):
            wanted = action.desired
            own, name = {wanted.uuid, *(nic.mac for nic in wanted.nics)}, wanted.name
            own |= {id(file) for disk in wanted.disks
                    if (file := self.estate.world.file(node, disk.path))}
        elif action.domain in node.domains:
            name, own = action.domain, self._traits(node, node.domains[action.domain])
        else:
            return
        for other in node.domains.values():
            long = self.estate.world.now() - self.seen_since.get((node.name, other.name), 1e9)
            if (other.name != name and executes(other) and long > SILENT_S
                    and own & self._traits(node, other)):
                self.break_(f"{action.id} was begun while {other.name} on {node.name} had its uuid,"
                            " a card or a file")


class Witness:
    """A provider that lets every look and every act pass, and sees that the laws are kept."""

    def __init__(self, inner: Provider, laws: Laws) -> None:
        self._inner = inner
        self._laws = laws
        self.estate = laws.estate

    async def declare(self, desired: Desired) -> None:
        """Pass it on."""
        await self._inner.declare(desired)

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Pass it on; a node that answered has been looked at, if it was asked after the act."""
        waiting = {target for target, nodes in self._laws.unclear.items() if node in nodes}
        fact = await self._inner.observe(node)
        if isinstance(fact, Known):
            for target in waiting:
                self._laws.unclear[target].discard(node)
        self._laws.look()
        return fact

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Pass it on."""
        return await self._inner.observe_power(host)

    async def apply(self, action: Action) -> str:
        """Pass it on, looking before and after."""
        self._laws.look()
        self._laws.before(action)
        clear = False
        try:
            done = await self._inner.apply(action)
            clear = True
        except (Refused, Unavailable):
            clear = True
            raise
        finally:
            if not clear:
                self._laws.unclear.setdefault(action.target, set()).update(action.nodes)
            self._laws.look()
        return done

    def watch(self) -> AsyncIterator[str]:
        """Pass it on."""
        return self._inner.watch()

    async def close(self) -> None:
        """Pass it on."""
        await self._inner.close()

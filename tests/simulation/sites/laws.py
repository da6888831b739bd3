"""What must hold whatever fails over: asked of the world, and not of what the controller believes.
"""

from dataclasses import dataclass, field

from controller.plan.actions.action import Action
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.machine import DefineDomain, MigrateDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain
from controller.plan.actions.storage import CreateDisk
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.world import Domain, Node, executes
from controller.store.store import Store

BESIDE_S = 60.0
"""How long a copy of an older epoch may run beside the VM, where its host came back with it."""


def epoch(domain: Domain) -> int:
    """Return which copy a domain is."""
    return 0 if domain.ownership is None else domain.ownership.epoch


@dataclass
class FailoverLaws:
    """Looks at the world before and after every step."""

    estate: SimulatedEstate
    store: Store
    broken: list[str] = field(default_factory=list)
    unclear: dict[str, set[str]] = field(default_factory=dict)
    """For the provider that looks on; not judged here."""
    ordered: set[str] = field(default_factory=set)
    """Targets of planned moves that a person ordered."""
    let_run: set[str] = field(default_factory=set)
    """Hosts that a person said were off: what runs there is that person's affair."""
    running: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """By UUID, host and epoch: the boot of the host in which a copy was first seen to run."""
    beside: dict[tuple[str, str], float] = field(default_factory=dict)
    """By UUID and host: since when an older copy has run beside the VM."""
    longest_beside_s: float = 0.0
    tails: dict[tuple[str, int], int] = field(default_factory=dict)
    """By content and epoch: how far any guest has ever written."""

    def break_(self, law: str) -> None:
        """Note that a law was broken."""
        self.broken.append(f"{self.estate.world.now():.2f}: {law}")

    def look(self, node: str = "") -> None:
        """Check everything that must hold at every instant."""
        self._write()
        self._copies()
        self._tails()

    def _write(self) -> None:
        for node, domain in self._executing():
            for disk in domain.live.disks if domain.live is not None else ():
                file = self.estate.world.file(node, disk.source)
                if file is not None:
                    file.writes += 1
                    key = file.serial, epoch(domain)
                    self.tails[key] = max(file.writes, self.tails.get(key, 0))

    def _executing(self) -> list[tuple[Node, Domain]]:
        return [(node, domain) for node in self.estate.world.nodes.values()
                for domain in node.domains.values() if executes(domain) and not node.hung]

    def _copies(self) -> None:
        now, found = self.estate.world.now(), dict[str, list[tuple[Node, Domain]]]()
        for node, domain in self._executing():
            found.setdefault(domain.uuid, []).append((node, domain))
        beside = set()
        for uuid, copies in found.items():
            newest = max(epoch(domain) for _, domain in copies)
            ours = [one for one in copies if epoch(one[1]) == newest]
            if len(ours) > 1:
                self.break_(f"two running copies of epoch {newest}: {_words(ours)}")
            for node, domain in copies:
                if epoch(domain) < newest:
                    beside.add((uuid, node.name))
                    self._older(uuid, node, domain, copies, now)
        self.beside = {key: at for key, at in self.beside.items() if key in beside}
        self.running = {(domain.uuid, node.name, epoch(domain)): self.running.get(
            (domain.uuid, node.name, epoch(domain)), node.boot)
            for node, domain in self._executing()}

    def _older(self, uuid: str, node: Node, domain: Domain, copies: list[tuple[Node, Domain]],
               now: float) -> None:
        since = self.beside.setdefault((uuid, node.name), now)
        if (uuid, node.name, epoch(domain)) in self.running and since == now and (
                node.name not in self.let_run):
            self.break_(f"two running copies, and the older one ran before: {_words(copies)}")
        self.longest_beside_s = max(self.longest_beside_s, now - since)

    def _tails(self) -> None:
        """What was written last of each epoch is on some disk, or in some restore point."""
        found = dict[str, set[int]]()
        for node in self.estate.world.nodes.values():
            for store in (node.files, node.unmounted_files):
                for file in store.values():
                    found.setdefault(file.serial, set()).add(file.writes)
            for replica in (*node.replicas.values(), *node.unmounted_replicas.values()):
                for point in replica.points:
                    for version in point.versions.values():
                        found.setdefault(version.serial, set()).add(version.writes)
        for (serial, of), writes in list(self.tails.items()):
            if writes not in found.get(serial, ()):
                self.break_(f"the tail of {serial} of epoch {of} is gone")
                del self.tails[serial, of]

    def before(self, action: Action) -> None:
        """Check what must be true before anything is done."""
        name = action.target.partition("/")[2]
        match action:
            case PromoteReplica():
                self._before_promotion(action)
            case MoveDomain() if not self.ordered:
                self.break_(f"{action.id} was ordered by nobody")
            case CreateDisk() | DefineDomain() if any(
                    name in node.domains for node in self.estate.world.nodes.values()):
                self.break_(f"{action.id} makes anew what exists")
            case MigrateDomain() if self.site(action.node) != self.site(action.nodes[-1]):
                self.break_(f"{action.id} moves to another site by itself")
            case ReplicateDomain():
                self._before_copy(action)

    def site(self, node: str) -> str:
        """Return where a node stands."""
        return self.estate.world.node(node).site

    def _before_promotion(self, action: PromoteReplica) -> None:
        for node, domain in self._executing():
            if domain.uuid == action.uuid and node.name not in self.let_run and not (
                    epoch(domain) >= action.epoch and node.name == action.node):
                self.break_(f"{action.id} is begun while {domain.name} runs on {node.name} with"
                            f" epoch {epoch(domain)}")
        replica = self.estate.world.node(action.node).replicas.get(action.uuid)
        points = [] if replica is None else [
            one.sequence for one in replica.points if not one.known_bad]
        pinned = None if replica is None else replica.pins.get(f"failover-{action.epoch}")
        if points and pinned is None and action.sequence < max(points):
            self.break_(f"{action.id} takes point {action.sequence}, and {max(points)} is sound")

    def _before_copy(self, action: ReplicateDomain) -> None:
        node = self.estate.world.node(action.node)
        for domain in node.domains.values():
            for other in action.nodes:
                replica = self.estate.world.node(other).replicas.get(domain.uuid)
                if (f"VirtualMachine/{domain.name}" == action.target and replica is not None
                        and epoch(domain) < replica.epoch):
                    self.break_(f"{action.id} writes epoch {epoch(domain)} into a replica of epoch"
                                f" {replica.epoch}")


def _words(copies: list[tuple[Node, Domain]]) -> str:
    return " and ".join(f"{domain.name} on {node.name} with epoch {epoch(domain)}"
                        for node, domain in copies)

"""One backup job on a VM's host: all disks at one instant; how it ends, or is left behind."""

from dataclasses import dataclass

from controller.errors import Refused, Unavailable
from controller.model.facts import DomainConfig, DomainState
from controller.plan.actions.replica import ReplicateDomain
from controller.providers.simulated.hands.effect import domain_of
from controller.providers.simulated.replicas import (
    Checkpoint,
    Version,
    Versions,
    checkpoint_name,
    is_ours,
)
from controller.providers.simulated.world import Domain, File, Node, World

KEY_GRACE_S = 60.0
"""How long a one-time key is good for beyond the budget of its transfer."""


@dataclass(slots=True)
class Job:
    """What a running copy holds; a VM that is off is read without a job of libvirt's."""

    world: World
    source: Node
    target: Node
    domain: Domain
    mark: str
    """Of the one-time key at the target."""
    checkpoint: Checkpoint
    """One instant of all disks; the domain has it only if it runs."""
    begun_at: float
    files: dict[str, File]
    live: bool

    @property
    def intact(self) -> bool:
        """Return whether the disks being read are still those of the job's begin."""
        if self.source.domains.get(self.domain.name) is not self.domain:
            return False
        if self.live:
            return self.domain.job == "backup" and self.domain.job_is_ours
        return not self.domain.state.active and versions_of(self.files) == self.checkpoint.versions

    def end(self) -> None:
        """End it in good order; the guest notices nothing."""
        self.source.traces.locked.discard(self.domain.uuid)
        end_job(self.source, self.domain)
        if self.target.powered and not self.target.hung and self.world.reachable(self.target.name):
            self.target.traces.keys.pop(self.mark, None)

    def abandon(self) -> None:
        """Leave it as when its conductor dies: the lock is released, everything else stays."""
        self.source.traces.locked.discard(self.domain.uuid)

    def drop_checkpoint(self) -> None:
        """Delete the checkpoint of a point that was not made."""
        if self.domain.checkpoints.get(self.checkpoint.name) is self.checkpoint:
            del self.domain.checkpoints[self.checkpoint.name]


def begin_job(world: World, action: ReplicateDomain) -> Job:
    """Take the lock and, of a VM that runs, one instant of all its disks.

    Errors: Refused, Unavailable; nothing is begun then.
    """
    source, target = world.node(action.node), world.node(action.to)
    domain = domain_of(source, action.domain)
    live = domain.state.active
    files = _files(world, source, action, domain)
    _assert_free(source, domain)
    if live and source.full:
        raise Unavailable(f"{source.name}: no space left for the scratch files of {domain.name};"
                          " the guest is not touched: make room there")
    name = checkpoint_name(action.sequence)
    checkpoint = Checkpoint(name, world.now(), versions_of(files),
                            {target: file.size_bytes for target, file in files.items()})
    source.traces.locked.add(domain.uuid)
    if live:
        domain.job, domain.job_is_ours = "backup", True
        domain.checkpoints[name] = checkpoint
        for disk in action.disks:
            folder = disk.source.rpartition("/")[0]
            path = f"{folder}/hotsite-scratch/{domain.uuid}-{disk.target}.qcow2"
            source.traces.scratch[path] = domain.uuid
    mark = f"hotsite-transfer-{domain.uuid}-{action.sequence}"
    target.traces.keys[mark] = world.now() + action.budget_s + KEY_GRACE_S
    return Job(world, source, target, domain, mark, checkpoint, world.epoch(), files, live)


def versions_of(files: dict[str, File]) -> Versions:
    """Return the present version of all disks."""
    return {target: Version(file.serial, file.writes) for target, file in files.items()}


def end_job(node: Node, domain: Domain) -> None:
    """End a backup job of ours; libvirt deletes its scratch files."""
    if domain.job_is_ours:
        domain.job, domain.job_is_ours = None, False
    traces = node.traces
    traces.scratch = {path: of for path, of in traces.scratch.items() if of != domain.uuid}


def drop_checkpoints(domain: Domain, keep: str) -> None:
    """Delete all our checkpoints except `keep`."""
    for name in [name for name in domain.checkpoints if is_ours(name) and name != keep]:
        del domain.checkpoints[name]


def _files(world: World, source: Node, action: ReplicateDomain, domain: Domain) -> dict[str, File]:
    """Return the file of every disk that is asked for."""
    if domain.uuid != action.uuid:
        raise Refused(f"{source.name}: {domain.name} has uuid {domain.uuid}, not {action.uuid}")
    config: DomainConfig | None = domain.live or domain.config
    sources = {disk.target: disk.source for disk in config.disks} if config is not None else {}
    files = {}
    for disk in action.disks:
        if sources.get(disk.target) != disk.source:
            raise Refused(f"{source.name}: disk {disk.target} of {domain.name} is not"
                          f" {disk.source} any more")
        file = world.file(source, disk.source)
        if file is None:
            raise Refused(f"{source.name}: cannot access storage file '{disk.source}'")
        files[disk.target] = file
    return files


def _assert_free(source: Node, domain: Domain) -> None:
    """Raise Unavailable for a domain that has a job; another program's is never ended."""
    if domain.state is DomainState.INCOMING:
        raise Unavailable(f"{source.name}: {domain.name} is only just arriving here")
    if domain.uuid in source.traces.locked:
        raise Unavailable(f"{source.name}: another copy of {domain.name} is under way")
    if domain.job is not None and domain.job_is_ours:
        raise Unavailable(f"{source.name}: a copy of {domain.name} that nobody conducts any more"
                          " still has its backup job; it is swept first")
    if domain.job is not None:
        raise Unavailable(f"{source.name}: {domain.name} is busy with a {domain.job} that is not"
                          " ours; it is left alone")

"""What a process's begin and end change: ports, jobs, bitmaps; and a node's power."""

from dataclasses import replace

from controller.model.facts import DomainConfig, DomainState
from controller.providers.simulated.world import Domain, Node, World

BOOT_S = 45.0
"""From the power button to an answering sshd."""


def run_domain(node: Node, domain: Domain, reason: str) -> None:
    """Start a process for a domain by its definition, and plug in its cards."""
    assert domain.config is not None, "a domain without a definition cannot be started"
    plug_in(node, domain, domain.config)
    domain.state, domain.reason = DomainState.RUNNING, reason


def plug_in(node: Node, domain: Domain, config: DomainConfig) -> None:
    """Make `config` the live one, each card on a port of its bridge."""
    domain.live = replace(config, nics=tuple(
        replace(nic, device=node.new_port(nic)) for nic in config.nics))


def end_domain(node: Node, domain: Domain, reason: str) -> None:
    """End a domain's process; a transient domain disappears with it."""
    for bridge in node.bridges.values():
        ours = {nic.mac for nic in domain.live.nics} if domain.live is not None else set()
        for name in [p.name for p in bridge.ports.values() if p.mac in ours]:
            del bridge.ports[name]
    # libvirt ends the job of a guest that ends, and deletes its scratch files
    domain.job, domain.job_is_ours = None, False
    traces = node.traces
    traces.scratch = {path: of for path, of in traces.scratch.items() if of != domain.uuid}
    if reason == "crashed":
        _forget_changes(domain)
    domain.live = None
    domain.state, domain.reason = DomainState.SHUT_OFF, reason
    if not domain.persistent:
        node.domains.pop(domain.name, None)


def _forget_changes(domain: Domain) -> None:
    """Make bitmaps unsound: QEMU could not save them."""
    for checkpoint in domain.checkpoints.values():
        checkpoint.sound = False


def power_off(world: World, node: Node) -> None:
    """Cut the power: every process ends; bridges, pools, files and definitions stay on disk."""
    node.powered = False
    node.hung = node.ssh_paused = node.babbling = False
    for bridge in node.bridges.values():
        bridge.drops.clear()    # flows are in memory alone
        for port in bridge.ports.values():
            port.stale = port.mac is not None
    node.traces.locked.clear()
    for domain in list(node.domains.values()):
        if domain.state.active:
            _forget_changes(domain)
        domain.live, domain.job, domain.job_is_ours = None, None, False
        domain.state, domain.reason = DomainState.SHUT_OFF, "unknown"
        if not domain.persistent:
            del node.domains[domain.name]
    world.notify(node.name)


def power_on(world: World, node: Node) -> None:
    """Boot the node; libvirt starts all domains with autostart, wherever else they run."""
    if node.powered:
        return
    node.powered, node.libvirt_up = True, True
    node.boot += 1
    node.next_port = 0
    node.ready_at = world.now() + BOOT_S
    for domain in node.domains.values():
        if domain.autostart and domain.persistent:
            run_domain(node, domain, "booted")
    world.notify(node.name)

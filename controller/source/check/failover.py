"""The checks on failover: what cannot be safe, or can never happen, is refused before it is needed.

The numbers of the guard are checked by the inequality that fencing uses. `failover: automatic` is
allowed only where a second place can agree, and where each host that may run the VM can be proven
to run it no more, though it be frozen.
"""

from collections.abc import Iterator
from math import ceil
from typing import Final

from controller.failover.inequality import least_wait_s
from controller.model.document import Manage
from controller.model.estate import Estate
from controller.model.failover.spec import GuardSpec, LeaseSpec
from controller.model.host import Host
from controller.model.protection_policy import ProtectionPolicy
from controller.model.site import Site
from controller.model.units import render_duration
from controller.model.virtual_machine import Autostart, VirtualMachine
from controller.model.witness import Witness
from controller.source.problems import Finding
from controller.source.specs import NAME, Entry, Specs

GUARD: Final = ("spec", "failover", "guard")
LEASE: Final = ("spec", "failover", "lease")
LEAST_DEADLINE_S = 3.0
"""A guard asks each second: with less, two datagrams that are lost would end guests."""
LEAST_MEMBERS = 3


def check_failover(specs: Specs) -> Iterator[Finding]:
    """Yield numbers that break the guard's inequality, leases that cannot work, and automatic
    failover where it cannot be safe."""
    for estate in specs.of(Estate).values():
        yield from check_guard(specs, estate)
        if estate.document.spec.failover.lease is not None:
            yield from check_lease(specs, estate, estate.document.spec.failover.lease)
        if all(specs.complete(kind) for kind in ("Site", "Host", "Witness")):
            yield from check_automatic(specs, estate.document.spec.failover.guard)
    if specs.complete("Host"):
        yield from check_groups(specs)


def check_groups(specs: Specs) -> Iterator[Finding]:
    """Yield the VMs of a group that stand at another site than its others.

    A site that is lost takes only part of such a group: the others run on, at a later instant.
    """
    first: dict[str, tuple[str, str]] = {}
    for name, vm in sorted(specs.of(VirtualMachine).items()):
        placement, group = vm.document.spec.placement, vm.document.spec.group
        host = specs.of(Host).get(placement.host or "")
        site = placement.site or (None if host is None else host.document.spec.site)
        if group is None or site is None:
            continue
        other, there = first.setdefault(group, (name, site))
        if there != site:
            yield vm.wrong(f"`{other}` of the same group is at {there}, and a group comes back as a"
                           f" whole, at one instant: place both at one site, or take {name} out of"
                           f" {group}", "spec", "group")


def check_guard(specs: Specs, estate: Entry[Estate]) -> Iterator[Finding]:
    """Yield deadlines, watchdogs and waits that end guests needlessly, or not surely."""
    guard = estate.document.spec.failover.guard
    if guard.deadline_s < LEAST_DEADLINE_S:
        yield estate.wrong("a guard asks each second, so with less than"
                           f" {render_duration(LEAST_DEADLINE_S)} two lost datagrams would end"
                           " guests: raise it", *GUARD, "deadline")
    if guard.watchdog_s <= guard.feed_s:
        field = "watchdog" if "watchdog_s" in guard.model_fields_set else "feed"
        yield estate.wrong(f"a watchdog of {render_duration(guard.watchdog_s)} that is fed each"
                           f" {render_duration(guard.feed_s)} cuts the power of a host that is"
                           " well: feed it several times in its time", *GUARD, field)
    watched = any(host.document.spec.watchdog for host in specs.of(Host).values())
    least_s = least_wait_s(guard, watchdog=watched or not specs.complete("Host"))
    if guard.wait_s is not None and guard.wait_s < least_s:
        yield estate.wrong("a host could still run guests after"
                           f" {render_duration(guard.wait_s)}: write at least"
                           f" {ceil(least_s * 10) / 10}s, or leave it out", *GUARD, "wait")
    if guard.key_file is not None and specs.complete("Witness") and specs.complete("Host"):
        sites = {host.document.spec.site for host in specs.of(Host).values()}
        if len(sites) == 1 and not specs.of(Witness):
            yield estate.wrong("no witness and no host of another site could grant to a guard, so"
                               " guests would end with the controller: declare a Witness, or leave"
                               " `keyFile` out", *GUARD, "keyFile")


def check_lease(specs: Specs, estate: Entry[Estate], lease: LeaseSpec) -> Iterator[Finding]:
    """Yield leases that nobody could hold, or that two could."""
    if lease.driver == "witness":
        if lease.endpoints:
            yield estate.wrong("`endpoints` are those of etcd: write `driver: etcd`, or leave them"
                               " out", *LEASE, "endpoints")
        if specs.complete("Witness") and not specs.of(Witness):
            yield estate.wrong("the lease lies at a witness, and none is declared: declare a"
                               " Witness, or write `driver: etcd`", *LEASE)
        elif lease.witness is not None:
            yield from specs.dangling(estate.chunk, "Witness", lease.witness, *LEASE, "witness")
        elif specs.complete("Witness") and len(specs.of(Witness)) > 1:
            yield estate.wrong(f"one of {len(specs.of(Witness))} witnesses keeps the lease, and"
                               " another one as soon as their names change: say which, with"
                               " `witness:`", *LEASE)
    else:
        count = len(set(lease.endpoints))
        if count < LEAST_MEMBERS or count % 2 == 0:
            yield estate.wrong(f"etcd decides by majority, and {count} member(s) give none that"
                               " outlives one of them: write three or five different endpoints",
                               *LEASE, *(("endpoints",) if lease.endpoints else ()))
    if (lease.certificate_file is None) != (lease.key_file is None):
        field = "keyFile" if lease.certificate_file is None else "certificateFile"
        yield estate.wrong("a certificate and its key belong together: write both, or neither",
                           *LEASE, field)
    credentials = lease.credentials
    if credentials is not None and (credentials.file is None) == (credentials.env is None):
        yield estate.wrong("credentials are read from one place: write `file:` or `env:`, and not"
                           " both", *LEASE, "credentials")


class HostsOf:
    """The hosts that may run a VM while all is well, sorted; found once for each placement."""

    def __init__(self, specs: Specs) -> None:
        self._sites = {name: host.document.spec.site for name, host in specs.of(Host).items()}
        self._found: dict[tuple[str | None, str | None], list[str]] = {}

    def __call__(self, vm: Entry[VirtualMachine]) -> list[str]:
        """Return the names of the hosts."""
        placement = vm.document.spec.placement
        key = placement.host, placement.site
        if key not in self._found:
            self._found[key] = sorted(name for name, site in self._sites.items()
                                      if key[0] in {None, name} and key[1] in {None, site})
        return self._found[key]


def check_automatic(specs: Specs, guard: GuardSpec) -> Iterator[Finding]:
    """Yield policies of automatic failover that no second place or no proof stands behind."""
    bare: dict[str, list[str]] = {}
    hosts_of = HostsOf(specs)
    for name, policy in specs.of(ProtectionPolicy).items():
        spec = policy.document.spec
        if spec.failover != "automatic":
            continue
        yield from check_autostart(specs, name)
        path = ("spec", "failover")
        place = second_place(specs)
        if place is not None:
            yield policy.wrong(f"nobody but the controller could say that a site is gone: {place},"
                               " or write `failover: confirm`", *path)
        if guard.key_file is None:
            yield policy.wrong("a site that is cut off would go on running its VMs: set"
                               " `failover.guard.keyFile` of the Estate, or write `failover:"
                               " confirm`", *path)
        running = [vm for vm in specs.of(VirtualMachine).values()
                   if vm.document.spec.protection == name]
        if spec.isolation == "run":
            yield from check_isolation(specs, policy, running, hosts_of)
        for vm in running:
            for host in hosts_of(vm):
                if unsure(specs.of(Host)[host]):
                    bare.setdefault(host, []).append(vm.document.name)
    for host, names in sorted(bare.items()):
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield specs.of(Host)[host].wrong(
            f"`{names[0]}`{more} fails over by itself, and a host without BMC and watchdog can run"
            " it again once it thaws: declare `bmc` or `watchdog`, or write `acceptFreeze: true`",
            *NAME)


def check_autostart(specs: Specs, policy: str) -> Iterator[Finding]:
    """Yield VMs that fail over by themselves, and that libvirt might start by itself as well."""
    for vm in specs.of(VirtualMachine).values():
        if (vm.document.spec.protection == policy and not is_observed(specs, vm)
                and vm.document.spec.autostart is not Autostart.OFF):
            yield vm.wrong("it fails over by itself, and a host that boots again must not start its"
                           " old copy beside the new one: write `autostart: off` (hotsite starts it"
                           f" then), or `failover: confirm` in `{policy}`", "spec", "autostart")


def is_observed(specs: Specs, vm: Entry[VirtualMachine]) -> bool:
    """Return whether a VM is only observed where it is declared to be: nothing fails it over."""
    placement, hosts = vm.document.spec.placement, specs.of(Host)
    host = hosts.get(placement.host or "")
    site = specs.of(Site).get(host.document.spec.site if host is not None else placement.site or "")
    near = [vm.document.spec, *(one.document.spec for one in (host, site) if one is not None),
            *(one.document.spec for one in specs.of(Estate).values())]
    return next((one.manage for one in near if one.manage is not None), None) is Manage.OBSERVE


def second_place(specs: Specs) -> str | None:
    """Return what is missing of a place besides the sites; None if nothing is."""
    sites = specs.of(Site)
    inside = None
    for name, witness in specs.of(Witness).items():
        place = witness.document.spec.place
        if place not in sites:
            return None
        inside = (f"witness `{name}` is at site `{place}`, which makes it a part of that site's"
                  " view and no second one; declare a Witness at a third place")
    return inside or "declare a Witness at a third place"


def unsure(host: Entry[Host]) -> bool:
    """Return whether nothing is declared that a frozen host could be proven off by."""
    spec = host.document.spec
    return spec.bmc is None and spec.watchdog is None and not spec.accept_freeze


def check_isolation(specs: Specs, policy: Entry[ProtectionPolicy],
                    running: list[Entry[VirtualMachine]], hosts_of: HostsOf
                    ) -> Iterator[Finding]:
    """Yield an automatic policy whose VMs go on where they are cut off, on a host without BMC."""
    for vm in running:
        for name in hosts_of(vm):
            if specs.of(Host)[name].document.spec.bmc is None:
                written = "isolation" in policy.document.spec.model_fields_set
                yield policy.wrong(
                    f"host `{name}` has no BMC and lets `{vm.document.name}` run where it is cut"
                    " off, so it could never fail over by itself: write `isolation: stop`, or"
                    " `failover: confirm`", "spec", "isolation" if written else "failover")
                return

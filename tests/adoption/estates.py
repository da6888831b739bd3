"""Hosts that nobody declares, as they answer: domains from XML, bridges and pools; no SSH needed.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from controller.adoption.host_keys import HostKey
from controller.cli.app import build
from controller.errors import Unavailable
from controller.model.desired import Desired
from controller.model.facts import (
    Absent,
    DomainFacts,
    Fact,
    Hardware,
    InterfaceFacts,
    Known,
    NodeFacts,
    PoolFacts,
    Unknown,
)
from controller.model.failover.capabilities import Capabilities
from controller.model.failover.power import PowerFacts
from controller.model.linux.links import LinkFacts, Links
from controller.plan.actions.action import Action
from controller.providers.libvirt.facts import parse_domains
from controller.providers.reader import HostAnswer
from controller.reconcile.manager import Manager
from controller.transport.base import Endpoint

AT = 1_000_000.0
GIB = 1 << 30
KEY = HostKey("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5AAAAIAnWa0DusP5ykF7gbWGO7A65hqP5zQMoFn0qpPx7rn67",
              "SHA256:HCCoz2p8PKPhg2G7uaNOaUc6M6CuTLYF67ZO9GL8enc")
DOMAIN = """<domain type='kvm'{number}><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='KiB'>{memory}</memory><vcpu>{cpus}</vcpu>
<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
<devices>{devices}</devices></domain>"""


def uuid_of(number: int) -> str:
    """A UUID of its own for each number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def file_disk(path: str, target: str = "vda", kind: str = "qcow2") -> str:
    """A disk that is a file."""
    return (f"<disk type='file' device='disk'><driver name='qemu' type='{kind}'/>"
            f"<source file='{path}'/><target dev='{target}' bus='virtio'/></disk>")


def card(mac: str, bridge: str = "br0", more: str = "") -> str:
    """A card on a bridge."""
    return (f"<interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/>{more}"
            "<model type='virtio'/></interface>")


@dataclass
class Guest:
    """One domain as libvirt shows it."""

    name: str
    number: int
    devices: str = ""
    running: bool = True
    autostart: bool = False
    uuid: str = ""
    memory_kib: int = 2 << 20
    cpus: int = 2
    sizes: dict[str, int | None] = field(default_factory=dict)
    unknown: str = ""
    xml: str = ""

    def text(self, *, live: bool) -> str:
        """Its XML."""
        if self.xml:
            return self.xml
        from xml.sax.saxutils import escape

        return DOMAIN.format(number=" id='7'" if live else "", name=escape(self.name),
                             uuid=self.uuid or uuid_of(self.number), memory=self.memory_kib,
                             cpus=self.cpus, devices=self.devices)

    def row(self) -> dict[str, Any]:
        """Its row in the facts script's answer."""
        head = {"name": self.name, "uuid": self.uuid or uuid_of(self.number), "persistent": True}
        if self.unknown:
            return {**head, "unknown": self.unknown, "active": self.running}
        return {**head, "state": "running" if self.running else "shut off", "reason": "booted",
                "autostart": self.autostart, "job": None, "checkpoints": [],
                "live_xml": self.text(live=True) if self.running else None,
                "config_xml": self.text(live=False), "disk_sizes": self.sizes}


@dataclass
class Kvm:
    """One host; `silent` says why it does not answer."""

    address: str
    hostname: str = ""
    guests: list[Guest] = field(default_factory=list)
    pools: Mapping[str, PoolFacts] | Unknown[Any] = field(default_factory=lambda: {
        "images": PoolFacts("images", "/var/lib/libvirt/images", True, 100 * GIB, 50 * GIB)})
    bridges: Mapping[str, str] = field(default_factory=lambda: {"br0": ""})
    """Linux bridges, each with its own address and prefix length, or none."""
    prefix: int = 24
    no_domains: str = ""
    silent: str = ""
    versions: Mapping[str, str] = field(default_factory=lambda: {"libvirt": "9.0.0"})

    def facts(self, name: str) -> Fact[NodeFacts]:
        """What it answers."""
        if self.silent:
            return Unknown(self.silent, AT)
        interfaces = {bridge: InterfaceFacts(
            bridge, (own or (f"{self.address}/{self.prefix}" if bridge == "br0" else ""),),
            kind="bridge") for bridge, own in self.bridges.items()}
        interfaces = {key: replace(one, addresses=tuple(filter(None, one.addresses)))
                      for key, one in interfaces.items()}
        interfaces["eno1"] = InterfaceFacts("eno1", (), master="br0")
        links = {bridge: LinkFacts(bridge, "bridge") for bridge in self.bridges}
        links["eno1"] = LinkFacts("eno1", master="br0")
        domains: Fact[Mapping[str, DomainFacts]] = Known(
            parse_domains(json.dumps([guest.row() for guest in self.guests])), AT)
        if self.no_domains:
            domains = Unknown(self.no_domains, AT)
        pools: Fact[Mapping[str, PoolFacts]] = (
            self.pools if isinstance(self.pools, Unknown) else Known(self.pools, AT))
        return Known(NodeFacts(
            name, "boot", 0.0, Known(Hardware(8, 64 * GIB, 32 * GIB, 0.1, "x86_64"), AT),
            self.versions, domains, pools, Absent(AT), replicas=Known({}, AT),
            leftovers=Known((), AT), interfaces=Known(interfaces, AT),
            capabilities=Known(Capabilities(("pc-q35-7.2",), ()), AT), records=Known({}, AT),
            guard=Absent(AT), grantor=Absent(AT), dropped=Absent(AT),
            links=Known(Links(links), AT)), AT)


class FixedReader:
    """Reads hosts that are always the same; shows one key for all of them, or none."""

    def __init__(self, hosts: Mapping[str, Kvm], endpoints: tuple[Endpoint, ...],
                 keys: Mapping[str, HostKey]) -> None:
        self.hosts, self.keys = hosts, keys
        self.endpoints = {one.name: one for one in endpoints}

    async def shown_key(self, name: str, kinds: Sequence[str]) -> HostKey:
        """Return the host's key."""
        address = self.endpoints[name].address
        if address not in self.hosts:
            raise Unavailable(f"{address} cannot be reached")
        return self.keys.get(address, KEY)

    async def read(self, name: str, *, waking: bool = False) -> HostAnswer:
        """Return what the host answers."""
        host = self.hosts[self.endpoints[name].address]
        return HostAnswer(host.facts(name), host.hostname,
                          {} if host.silent or host.no_domains else
                          {guest.row()["uuid"]: guest.text(live=False)
                           for guest in host.guests if not guest.unknown})

    async def probe(self, name: str, program: str, question: str, timeout_s: float) -> str:
        """Return that every probe is unknown."""
        assert program == "doctor/probe.py"
        return json.dumps({"python": [3, 11, 2], "hostname": name, "probes": {}})

    async def close(self) -> None:
        """Do nothing."""


class FixedEstate:
    """A provider of the same hosts, found by their declared addresses."""

    def __init__(self, hosts: Mapping[str, Kvm]) -> None:
        self.hosts = hosts
        self.addresses: dict[str, str] = {}

    async def declare(self, desired: Desired) -> None:
        """Note which host is meant by which name."""
        self.addresses = {name: host.spec.address for name, host in desired.hosts.items()}

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Return what a host answers."""
        return self.hosts[self.addresses[node]].facts(node)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Return that there is no BMC."""
        return Absent(AT)

    async def apply(self, action: Action) -> str:
        """Fail: an import changes nothing."""
        raise AssertionError(f"an import does nothing, and this was asked: {action.id}")

    async def watch(self) -> AsyncIterator[str]:
        """Say nothing."""
        for name in ():
            yield name

    async def close(self) -> None:
        """Do nothing."""


class ImportShell:
    """Runs `hotsite` against such hosts; what is typed for keys and files is added."""

    def __init__(self, folder: Path, *hosts: Kvm,
                 keys: Mapping[str, HostKey] | None = None) -> None:
        self.folder, self.out = folder, folder / "estate"
        self.hosts = {host.address: host for host in hosts}
        self.keys = dict(keys or {})
        self.known_hosts = folder / "known_hosts"
        self.endpoints: tuple[Endpoint, ...] = ()
        """Of the last import: where it logged in, and as whom."""

    def manager(self, state: Path | None) -> Manager:
        """Return a manager of these hosts."""
        return Manager(state or self.folder / "state", clock=lambda: AT,
                       make_provider=lambda desired, clock: FixedEstate(self.hosts),
                       make_reader=self.reader)

    def reader(self, endpoints: tuple[Endpoint, ...], clock: Callable[[], float]) -> FixedReader:
        """Return what reads them."""
        self.endpoints = endpoints
        return FixedReader(self.hosts, endpoints, self.keys)

    def run(self, *words: str) -> Result:
        """Run one verb."""
        return CliRunner().invoke(build(), list(words), obj=self.manager, prog_name="hotsite",
                                  env={"COLUMNS": "200", "HOME": str(self.folder)})

    def __call__(self, *words: str, trusted: bool = True) -> Result:
        """Run `hotsite import` for the hosts, or those that are named."""
        named = [word for word in words if not word.startswith("-")]
        key = self.folder / "key"
        key.touch()
        options = ["--out", str(self.out), "--key", str(key),
                   "--known-hosts", str(self.known_hosts),
                   *(["--fingerprint", KEY.fingerprint] if trusted else [])]
        hosts = named or list(self.hosts)
        return self.run("import", *hosts, *options, *(w for w in words if w.startswith("-")))

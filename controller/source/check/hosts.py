"""The checks on hosts, and on names and addresses that all nodes share."""

from collections.abc import Iterator
from ipaddress import ip_address

from controller.model.host import Host
from controller.model.network import Network
from controller.model.switch import Switch
from controller.model.witness import Witness
from controller.source.problems import Finding
from controller.source.specs import NAME, Entry, Specs


def check_hosts(specs: Specs) -> Iterator[Finding]:
    """Yield hosts with an unknown site, doubled pools or uplinks, or a BMC without credentials."""
    bmcs: dict[tuple[str, str | None], str] = {}
    for name, entry in specs.of(Host).items():
        spec = entry.document.spec
        yield from specs.dangling(entry.chunk, "Site", spec.site, "spec", "site")
        yield from check_attachments(specs, entry)
        yield from twice(entry, "pool", [pool.name for pool in spec.pools], "pools", "name")
        yield from twice(entry, "pool path", [pool.path for pool in spec.folders], "pools", "path")
        yield from twice(entry, "uplink", list(spec.uplinks), "uplinks")
        for index, uplink in enumerate(spec.uplinks):
            if uplink == spec.bridge:
                yield entry.wrong(f"`{uplink}` is the bridge itself: name the device that is"
                                  " plugged into it", "spec", "uplinks", index)
        capacity = spec.capacity
        if capacity is not None and capacity.memory_bytes <= spec.reserve.memory_bytes:
            yield entry.wrong("the reserve takes all the memory: lower it", "spec", "reserve",
                              "memory")
        if spec.bmc is not None:
            credentials = spec.bmc.credentials
            if (credentials.file is None) == (credentials.env is None):
                yield entry.wrong("credentials are read from one place: write `file:` or `env:`,"
                                  " and not both", "spec", "bmc", "credentials")
            other = bmcs.setdefault((spec.bmc.url.rstrip("/"), spec.bmc.system), name)
            if other != name:
                yield entry.wrong(f"the BMC of host `{other}` has this address, too: each host"
                                  " has its own, or is another `system` behind it", "spec", "bmc",
                                  "url")
    yield from check_nodes(specs)


def check_driver(entry: Entry[Switch]) -> Iterator[Finding]:
    """Yield a driver that is not implemented yet."""
    spec = entry.document.spec
    if spec.driver != "openvswitch":
        yield entry.wrong(f"a switch of `{spec.driver}` cannot be driven yet: leave"
                          f" `{entry.document.name}` out; hosts need no switch in the specs",
                          "spec", "driver")


def check_attachments(specs: Specs, entry: Entry[Host]) -> Iterator[Finding]:
    """Yield networks that are unknown, attached twice, or do not reach the host's site."""
    spec, networks = entry.document.spec, specs.of(Network)
    seen: set[str] = set()
    for index, one in enumerate(spec.attachments):
        path = ("spec", "attachments", index, "network")
        if one.network in seen:
            yield entry.wrong(f"network `{one.network}` is attached twice: remove one", *path)
        seen.add(one.network)
        if one.network not in networks:
            yield from specs.dangling(entry.chunk, "Network", one.network, *path)
        elif spec.site not in networks[one.network].document.spec.sites:
            yield entry.wrong(f"network `{one.network}` does not span `{spec.site}`: add the site"
                              " to its `sites:`, or remove it here", *path)


def twice(entry: Entry[Host], what: str, names: list[str], *path: str) -> Iterator[Finding]:
    """Yield each of `names` that is twice in one list of a host."""
    for index, name in enumerate(names):
        if name in names[:index]:
            yield entry.wrong(f"a second {what} `{name}`: remove or rename one", "spec", path[0],
                              index, *path[1:])


def check_nodes(specs: Specs) -> Iterator[Finding]:
    """Yield names and addresses that two nodes share."""
    hosts, switches, witnesses = specs.of(Host), specs.of(Switch), specs.of(Witness)
    for name in sorted(hosts.keys() & switches.keys()):
        yield switches[name].wrong(f"a host is named `{name}` too ({hosts[name].chunk.place}):"
                                   " rename one of them", *NAME)
    for name in sorted(witnesses.keys() & (hosts.keys() | switches.keys())):
        kind, other = ("host", hosts[name].chunk) if name in hosts else (
            "switch", switches[name].chunk)
        yield witnesses[name].wrong(f"a {kind} is named `{name}` too ({other.place}): rename one"
                                    " of them", *NAME)
    taken: dict[str, str] = {}
    for name, entry in switches.items():
        yield from check_address(entry, taken, name, entry.document.spec.address, "address")
    for name, witness in witnesses.items():
        yield from check_address(witness, taken, name, witness.document.spec.address, "address")
    for name, host in hosts.items():
        spec = host.document.spec
        yield from check_address(host, taken, name, spec.address, "address")
        if spec.replication_address not in {None, spec.address}:
            yield from check_address(host, taken, name, str(spec.replication_address),
                             "replicationAddress")


def check_address(entry: Entry[Host] | Entry[Switch] | Entry[Witness], taken: dict[str, str],
                  name: str, address: str, field: str) -> Iterator[Finding]:
    """Yield an address that another node has already."""
    other = taken.setdefault(spelled_once(address), f"`{name}` ({entry.chunk.place})")
    if other != f"`{name}` ({entry.chunk.place})":
        yield entry.wrong(f"{address} is the address of {other} already: each node has its own",
                          "spec", field)


def spelled_once(address: str) -> str:
    """Return the canonical spelling of an address: `fe80::1` for `FE80:0::1`."""
    try:
        found = ip_address(address)
    except ValueError:
        return address.lower().rstrip(".")
    return str(getattr(found, "ipv4_mapped", None) or found)

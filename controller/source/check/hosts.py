"""The checks on hosts, and on names and addresses that all nodes share."""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from controller.model.host import BmcSpec, Host
from controller.model.switch import Switch
from controller.source.problems import Finding
from controller.source.specs import NAME, Entry, Specs


def check_hosts(specs: Specs) -> Iterator[Finding]:
    """Yield hosts without a site, doubled pools and uplinks, and boards nobody can log in to."""
    boards: dict[str, str] = {}
    for name, entry in specs.of(Host).items():
        spec = entry.document.spec
        yield from specs.dangling(entry.chunk, "Site", spec.site, "spec", "site")
        yield from driven(entry)
        yield from twice(entry, "pool", [pool.name for pool in spec.pools], "pools", "name")
        yield from twice(entry, "pool path", [pool.path for pool in spec.pools], "pools", "path")
        yield from twice(entry, "uplink", list(spec.uplinks), "uplinks")
        yield from not_in_itself(entry, spec.bridge, spec.uplinks)
        capacity = spec.capacity
        if capacity is not None and capacity.memory_bytes <= spec.reserve.memory_bytes:
            yield entry.wrong("the reserve takes all the memory: lower it", "spec", "reserve",
                              "memory")
        if spec.bmc is not None:
            yield from check_credentials(entry, spec.bmc)
            other = boards.setdefault(spec.bmc.url, name)
            if other != name:
                yield entry.wrong(f"the board of host `{other}` has this address too: each host"
                                  " has its own", "spec", "bmc", "url")
    yield from check_nodes(specs)


def driven(entry: Entry[Host] | Entry[Switch]) -> Iterator[Finding]:
    """Yield a driver that nothing here has yet."""
    spec = entry.document.spec
    if spec.driver != "openvswitch":
        yield entry.wrong(f"`{spec.driver}` cannot be driven yet: let Open vSwitch have"
                          f" `{spec.bridge}`, or leave `{entry.document.name}` out",
                          "spec", "driver")


def twice(entry: Entry[Host], what: str, names: list[str], *path: str) -> Iterator[Finding]:
    """Yield each of `names` that stands twice in one list of a host."""
    for index, name in enumerate(names):
        if name in names[:index]:
            yield entry.wrong(f"a second {what} `{name}`: remove or rename one", "spec", path[0],
                              index, *path[1:])


def check_credentials(entry: Entry[Host], bmc: BmcSpec) -> Iterator[Finding]:
    """Yield credentials that name no place or two."""
    if (bmc.credentials.file is None) == (bmc.credentials.env is None):
        yield entry.wrong("credentials are read from one place: write `file:` or `env:`, and not"
                          " both", "spec", "bmc", "credentials")


def check_nodes(specs: Specs) -> Iterator[Finding]:
    """Yield names that a host and a switch share, and addresses that two nodes share."""
    hosts, switches = specs.of(Host), specs.of(Switch)
    for name in sorted(hosts.keys() & switches.keys()):
        yield switches[name].wrong(f"a host is named `{name}` too ({hosts[name].chunk.place}):"
                                   " rename one of them", *NAME)
    taken: dict[str, str] = {}
    for name, entry in switches.items():
        yield from claim(entry, taken, name, entry.document.spec.address, "address")
    for name, host in hosts.items():
        spec = host.document.spec
        yield from claim(host, taken, name, spec.address, "address")
        if spec.replication_address not in {None, spec.address}:
            yield from claim(host, taken, name, str(spec.replication_address),
                             "replicationAddress")


def claim(entry: Entry[Host] | Entry[Switch], taken: dict[str, str], name: str, address: str,
          field: str) -> Iterator[Finding]:
    """Yield that another node has the address already."""
    other = taken.setdefault(spelled_once(address), f"`{name}` ({entry.chunk.place})")
    if other != f"`{name}` ({entry.chunk.place})":
        yield entry.wrong(f"{address} is the address of {other} already: each node has its own",
                          "spec", field)


def spelled_once(address: str) -> str:
    """Return an address as it is written in no other way: `fe80::1` for `FE80:0::1`."""
    try:
        found = ip_address(address)
    except ValueError:
        return address.lower().rstrip(".")
    return str(getattr(found, "ipv4_mapped", None) or found)


def not_in_itself(entry: Entry[Host], bridge: str, ports: Iterable[str]) -> Iterator[Finding]:
    """Yield a bridge that is to be plugged into itself."""
    for index, port in enumerate(ports):
        if port == bridge:
            yield entry.wrong(f"`{port}` is the bridge itself: name the device that is plugged"
                              " into it", "spec", "uplinks", index)

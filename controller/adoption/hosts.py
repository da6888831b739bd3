"""The spec of a host from its facts: its bridges, pools and attachments."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from controller.adoption.names import fits
from controller.adoption.networks import OPENVSWITCH, Plug, Wiring
from controller.adoption.observed import Observed
from controller.adoption.reading import Reading
from controller.adoption.text import Noted, plain
from controller.model.facts import BridgeFacts, Known, NodeFacts, PoolFacts

POOL_TYPES: Final = frozenset({"dir", "logical", "zfs", "rbd"})
FOLDERS: Final = frozenset({"dir", "fs", "netfs"})
"""libvirt's kinds of pools whose volumes are files of one folder."""


def host_document(reading: Reading, facts: NodeFacts, site: str, wiring: Wiring,
                  reason: str) -> tuple[Noted, list[Observed]]:
    """Return the document of one host, and what of it is only observed."""
    driver = wiring.driver(reading.name)
    spec: dict[str, Any] = {
        "site": Noted(site, beside=reason), "address": reading.address,
        "driver": Noted(driver, beside="guessed: its guests' bridges are of that kind"
                        if driver != "none" else "no bridge was seen on it")}
    login = {"user": reading.user, "port": reading.port}
    if own := {key: value for key, value in login.items() if value is not None}:
        spec["ssh"] = own
    spec |= _bridge(reading.name, facts, wiring, driver)
    pools, observed = pools_of(reading.name, facts)
    spec["pools"] = pools
    head: tuple[str, ...] = (f"{versions_of(facts)}.",)
    head += tuple(f"{one.what} is not declared: {one.why}" for one in observed
                  if one.what.removeprefix("pool ") not in {plain(pool)["name"] for pool in pools})
    return Noted({"kind": "Host", "metadata": {"name": reading.name}, "spec": spec},
                 above=head), observed


def versions_of(facts: NodeFacts) -> str:
    """Return what runs on a host, in words."""
    parts = [f"{program} {version}" for program, version in sorted(facts.versions.items())]
    if isinstance(facts.hardware, Known):
        parts.insert(0, f"{facts.hardware.value.cpus} CPUs,"
                     f" {facts.hardware.value.memory_bytes >> 30} GiB")
    return ", ".join(parts) or "nothing is known of its programs"


def _bridge(host: str, facts: NodeFacts, wiring: Wiring, driver: str) -> dict[str, Any]:
    """Return the fields that say which bridge it has, and where its networks are on it."""
    attached = wiring.attachments(host)
    bridges = sorted({plug.bridge for _, plug in attached})
    kinds = wiring.kinds.get(host, {})
    if not bridges:
        bridges = sorted(name for name, kind in kinds.items() if kind == driver)
    if driver == "none" or not bridges:
        return {"uplinks": []}
    main = min(bridges, key=lambda name: (-sum(plug.bridge == name for _, plug in attached), name))
    fields: dict[str, Any] = {"bridge": main}
    if driver == OPENVSWITCH and isinstance(facts.bridges, Known) and main in facts.bridges.value:
        uplinks = uplinks_of(facts.bridges.value[main])
        fields["uplinks"] = Noted(uplinks, beside="guessed: ports of the bridge that are no"
                                  " guest's")
    else:
        fields["uplinks"] = _linux_uplinks(facts, main)
    simple = driver == OPENVSWITCH and bridges == [main] and all(
        plug.vlan is not None for _, plug in attached)
    if not simple:
        fields["attachments"] = [attachment(name, plug) for name, plug in attached]
    return fields


def attachment(network: str, plug: Plug) -> dict[str, Any]:
    """Return where a host has a network."""
    return {"network": network, "bridge": plug.bridge,
            **({} if plug.vlan is None else {"vlan": plug.vlan})}


def uplinks_of(bridge: BridgeFacts) -> list[str]:
    """Return the ports of an Open vSwitch bridge that lead out of its host."""
    return sorted(port.name for port in bridge.ports.values()
                  if port.attached_mac is None and port.kind == "" and port.name != bridge.name
                  and not port.name.startswith(("vnet", "tap")))


def _linux_uplinks(facts: NodeFacts, bridge: str) -> list[str]:
    if not isinstance(facts.interfaces, Known):
        return []
    return sorted(name for name, one in facts.interfaces.value.items()
                  if one.master == bridge and one.kind != "tun" and not name.startswith("vnet"))


def pools_of(host: str, facts: NodeFacts) -> tuple[list[Any], list[Observed]]:
    """Return the pools that the specs can declare, and those that are only observed."""
    declared: list[Any] = []
    observed: list[Observed] = []
    paths: set[str] = set()
    pools = facts.pools.value if isinstance(facts.pools, Known) else {}
    for name, pool in sorted(pools.items()):
        why = why_undeclared(pool, paths)
        if why:
            observed.append(Observed(f"Host/{host}", f"pool {name}", why))
            continue
        fields: dict[str, Any] = {"name": name}
        if pool.type in FOLDERS:
            paths.add(pool.path)
            fields["path"] = pool.path
        else:
            fields["type"] = pool.type if pool.type in POOL_TYPES else "other"
            observed.append(Observed(f"Host/{host}", f"pool {name}",
                                     f"a pool of the type {pool.type} is seen, and not filled"))
        declared.append(Noted(fields, beside="not active when it was seen" if not pool.active else
                              "a network's: `shared: true` if other hosts see the same files"
                              if pool.type == "netfs" else ""))
    return declared, observed


def why_undeclared(pool: PoolFacts, paths: set[str]) -> str:
    """Return why the specs cannot declare a pool; empty if they can."""
    if pool.unknown:
        return f"it could not be read: {pool.unknown}"
    if not fits(pool.name):
        return ("the specs cannot write its name: disks in it are declared by their files,"
                " `source: {file: …}`")
    if pool.type not in FOLDERS:
        return ""
    if pool.path in paths:
        return f"another pool has the folder {pool.path}, too"
    if not pool.path.startswith("/") or not pool.path.isprintable() or {
            ".", ".."} & set(pool.path.split("/")):
        return f"the specs cannot write its folder {pool.path!r}"
    return ""


def folders_of(facts: NodeFacts) -> Mapping[str, str]:
    """Return the declared pools of a host by their folder."""
    return dict(_folders(facts))


def _folders(facts: NodeFacts) -> Iterator[tuple[str, str]]:
    if isinstance(facts.pools, Known):
        seen: set[str] = set()
        for name, pool in sorted(facts.pools.value.items()):
            if why_undeclared(pool, seen) == "" and pool.type in FOLDERS:
                seen.add(pool.path)
                yield pool.path.rstrip("/") or "/", name

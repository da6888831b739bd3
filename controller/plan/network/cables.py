"""Cables: which port of which node the specs say is plugged into which."""

from typing import NamedTuple

from controller.model.desired import Desired


class End(NamedTuple):
    """One port of one node."""

    node: str
    port: str


class Cable(NamedTuple):
    """Two ends; `link` is the inter-site link of which it is a member, empty within a site."""

    a: End
    b: End
    link: str = ""


def cables(desired: Desired) -> tuple[Cable, ...]:
    """Return every cable whose two ends are declared: each uplink's, each link member's."""
    found: list[Cable] = []
    members: dict[str, End] = {}
    plugged: dict[str, int] = {}
    for name in sorted(desired.switches):
        for port in desired.switches[name].spec.ports:
            here = End(name, port.name)
            if port.link is not None:
                if port.link in members:
                    found.append(Cable(members[port.link], here, port.link.partition("/")[0]))
                members[port.link] = here
            host = desired.hosts.get(port.host or "")
            if host is not None:
                number = plugged.get(host.name, 0)
                plugged[host.name] = number + 1
                if number < len(host.spec.uplinks):
                    found.append(Cable(End(host.name, host.spec.uplinks[number]), here))
    return tuple(found)

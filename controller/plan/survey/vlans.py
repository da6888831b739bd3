"""VLANs: which of them every site and every inter-site link must carry."""

from collections.abc import Iterable

from controller.model.desired import Desired

NOTHING_PASSES = (0,)
"""An empty trunk list means `all` to Open vSwitch; VLAN 0 alone lets no tagged frame pass."""


def site_vlans(desired: Desired) -> dict[str, tuple[int, ...]]:
    """Return, by site, the VLANs that each of its hosts carries, sorted."""
    found: dict[str, set[int]] = {site: set() for site in desired.sites}
    for network in desired.networks.values():
        if network.spec.vlan is not None:
            for site in network.spec.sites:
                found.setdefault(site, set()).add(network.spec.vlan)
    return {site: tuple(sorted(vlans)) for site, vlans in found.items()}


def link_vlans(desired: Desired) -> dict[str, tuple[int, ...]]:
    """Return, by inter-site link, the VLANs of the networks that span both of its ends, sorted."""
    found: dict[str, tuple[int, ...]] = {}
    for name, link in desired.inter_site_links.items():
        ends = set(link.spec.between)
        found[name] = tuple(sorted(
            network.spec.vlan for network in desired.networks.values()
            if network.spec.vlan is not None and ends <= set(network.spec.sites)))
    return found


def untagged_sites(desired: Desired) -> frozenset[str]:
    """Return the sites of networks without a tag."""
    return frozenset(site for network in desired.networks.values() if network.spec.vlan is None
                     for site in network.spec.sites)


def untagged_links(desired: Desired) -> frozenset[str]:
    """Return the inter-site links that have to carry networks without a tag."""
    spans = [set(one.spec.sites) for one in desired.networks.values() if one.spec.vlan is None]
    return frozenset(name for name, link in desired.inter_site_links.items()
                     if any(set(link.spec.between) <= span for span in spans))


def render_vlans(vlans: Iterable[int]) -> str:
    """Return VLAN ids as people write them: `100-103, 200`, or `no VLAN`."""
    numbers = sorted(set(vlans) - {0})
    parts: list[str] = []
    first = 0
    while first < len(numbers):
        last = first
        while last + 1 < len(numbers) and numbers[last + 1] == numbers[last] + 1:
            last += 1
        one, other = numbers[first], numbers[last]
        parts.append(str(one) if first == last else
                     f"{one}, {other}" if last == first + 1 else f"{one}-{other}")
        first = last + 1
    return ", ".join(parts) or "no VLAN"

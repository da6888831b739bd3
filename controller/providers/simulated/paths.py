"""Which guest reaches which: follows a VLAN from port to port across bridges and cables."""

from controller.model.facts import DomainState
from controller.providers.simulated.world import Bridge, Node, Port, Wire, World

RSTP_GAP_S = 2.0
"""How long a pair of switches forwards nothing after losing its forwarding member."""
Step = tuple[str, int, str]
"""A node, the VLAN id that the frame carries there, and its source address."""


def forwarding(world: World, pair: tuple[str, str]) -> Wire | None:
    """Return the member that RSTP lets forward between two switches: the first that is up."""
    members = [wire for _, wire in sorted(world.wires.items())
               if wire.between_switches and (wire.a[0], wire.b[0]) == pair
               and world.link_up(*wire.a) and _plugged(world, wire.a) and _plugged(world, wire.b)]
    return members[0] if members else None


def blocked_ports(world: World) -> frozenset[tuple[str, str]]:
    """Return the trunk ports that RSTP blocks, so that there is no loop."""
    between = [wire for wire in world.wires.values() if wire.between_switches]
    chosen = {pair: forwarding(world, pair) for pair in {(w.a[0], w.b[0]) for w in between}}
    return frozenset(end for wire in between if chosen[wire.a[0], wire.b[0]] is not wire
                     for end in (wire.b,))


def stream_flows(world: World, source: str, target: str) -> bool:
    """Return whether the replication network carries a stream from one host to another.

    Between sites it uses the same cables as everything else; one member that is up is enough.
    """
    here, there = world.node(source), world.node(target)
    if not (here.powered and there.powered and not here.hung and not there.hung):
        return False
    if here.site == there.site:
        return True
    cables = [wire for wire in world.wires.values() if wire.between_switches
              and {world.node(end[0]).site for end in (wire.a, wire.b)} == {here.site, there.site}]
    return (world.passes(source, target)
            and (not cables or any(world.link_up(*wire.a) for wire in cables)))


def ping(world: World, source: str, destination: str) -> bool:
    """Return whether guest `source` gets an answer from guest `destination` on some VLAN."""
    starts, ends = _cards(world, source), _cards(world, destination)
    return any(_connected(world, start, end) for start in starts for end in ends)


def _cards(world: World, name: str) -> list[Step]:
    """Return node, VLAN and address of every plugged card of the running guest `name`."""
    found = []
    for node in world.nodes.values():
        domain = node.domains.get(name)
        answers = domain is not None and domain.state is DomainState.RUNNING
        if not answers or node.hung or domain is None or domain.live is None:
            continue
        for nic in domain.live.nics:
            plugged = node.port_of(nic.mac)
            if plugged is not None:
                found.append((node.name, plugged[1].tag or 0, nic.mac.lower()))
    return found


def _connected(world: World, start: Step, end: Step) -> bool:
    """Return whether a frame from `start` arrives at `end`."""
    if start[1] != end[1]:
        return False
    seen, edge = {start[0]}, [start[0]]
    while edge:
        here = edge.pop()
        if here == end[0]:
            return True
        for wire in world.wires.values():
            far = _across(world, wire, here, start)
            if far is not None and far not in seen:
                seen.add(far)
                edge.append(far)
    return False


def _across(world: World, wire: Wire, here: str, frame: Step) -> str | None:
    """Return the node at the other end of `wire` if a frame gets there from `here`."""
    if here not in {wire.a[0], wire.b[0]} or not world.link_up(*wire.a):
        return None
    if wire.between_switches:
        pair = (wire.a[0], wire.b[0])
        if forwarding(world, pair) is not wire or world.now() < world.rstp_gaps.get(pair, 0.0):
            return None
    ports = (_plugged(world, wire.a), _plugged(world, wire.b))
    if any(port is None or not port.passes(frame[1]) for port in ports):
        return None
    far = wire.b if here == wire.a[0] else wire.a
    dropped = any((far[1], frame[2]) in bridge.drops
                  for bridge in world.nodes[far[0]].bridges.values())
    return None if dropped else far[0]


def _plugged(world: World, end: tuple[str, str]) -> Port | None:
    """Return the bridge port at this end of a cable, None when it is in no bridge."""
    node: Node = world.nodes[end[0]]
    bridges: list[Bridge] = list(node.bridges.values())
    return next((b.ports[end[1]] for b in bridges if end[1] in b.ports), None)

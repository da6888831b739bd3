"""Who is cut off or refused, as guards and grantors say: seen now or last seen."""

from collections.abc import Mapping
from typing import NamedTuple

from controller.model.facts import Fact, NodeFacts
from controller.model.failover.guard import Tombstone
from controller.plan.survey.silence import last_of


class Isolation(NamedTuple):
    """Who is cut off, or refused."""

    ended: dict[tuple[str, str], Tombstone]
    """By host that is not granted yet, and UUID of a guest that its guard has ended there."""
    refused: dict[str, tuple[int, tuple[str, ...]]]
    """By host: the highest epoch that it is refused for, and the grantors that refuse it."""


NOBODY = Isolation({}, {})


def isolation_of(nodes: Mapping[str, Fact[NodeFacts]]) -> Isolation:
    """Return who is cut off or refused, seen now or last seen."""
    found = Isolation({}, {})
    for name in sorted(nodes):
        node = last_of(nodes[name])
        if node is None:
            continue
        guard, grantor = last_of(node.guard), last_of(node.grantor)
        if guard is not None and not guard.content:
            for tomb in guard.tombstones:
                found.ended[name, tomb.uuid] = tomb
        for host, revoked in (grantor.revoked if grantor is not None else {}).items():
            epoch, by = found.refused.get(host, (0, ()))
            found.refused[host] = max(epoch, revoked.epoch), (*by, name)
    return found

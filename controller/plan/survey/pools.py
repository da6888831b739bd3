"""Pools by the names that the specs give them.

A folder is one pool, whatever libvirt calls it: virt-install defines a pool of its own for the
folder of its first disk, and libvirt refuses a second one at the same path.
"""

from collections.abc import Mapping

from controller.model.desired import Desired
from controller.model.facts import PoolFacts


def by_declared_name(host: str, desired: Desired,
                     pools: Mapping[str, PoolFacts]) -> Mapping[str, PoolFacts]:
    """Return the pools of a host; one at a declared folder has the name that is declared for it.

    A pool that has a declared name itself keeps it, wherever it lies.
    """
    declared = desired.hosts.get(host)
    names = {} if declared is None else {
        pool.path.rstrip("/"): pool.name for pool in declared.spec.folders
        if pool.name not in pools}
    if not names:
        return pools
    own = {pool.name for pool in declared.spec.pools} if declared is not None else set()
    return {name if name in own else names.get(pool.path.rstrip("/"), name): pool
            for name, pool in pools.items()}

"""The file system below each pool, remembered: an empty folder is no proof of absence.

Rule 1: a pool on another file system than before counts as unknown. Its files and replicas stay as
        they were last seen, until it is mounted again or a person accepts the new file system.
"""

from collections.abc import Mapping
from dataclasses import replace

from controller.model.facts import Fact, Known, NodeFacts, PoolFacts
from controller.model.replica import STORE, ReplicaFacts
from controller.plan.actions.action import Action
from controller.plan.actions.storage import AcceptPool
from controller.plan.survey.silence import last_of
from controller.store.memory import Memory
from controller.store.store import Store


class PoolMemory:
    """Checks every answer of a host before it becomes a fact."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}
        self._new: dict[str, str] = {}

    def read(self) -> None:
        """Read what earlier processes saved.

        Errors: JournalUnavailable; the last values stay.
        """
        self._known = {**self._store.remembered(Memory.POOL), **self._new}

    def write(self) -> None:
        """Write new file systems.

        Errors: JournalUnavailable; they are written the next time.
        """
        self._store.remember(Memory.POOL, self._new)
        self._new = {}

    def accept(self, action: Action) -> None:
        """Learn the new file system of a pool that a person has accepted."""
        if isinstance(action, AcceptPool):
            self._learn(key_of(action.node, action.pool, action.path), action.identity)

    def screen(self, node: str, fact: Fact[NodeFacts], before: Fact[NodeFacts]) -> Fact[NodeFacts]:
        """Return an answer, its pools on other file systems as they were last seen and unknown."""
        if not isinstance(fact, Known) or not isinstance(fact.value.pools, Known):
            return fact
        pools = fact.value.pools
        odd = {name: sentence for name, pool in pools.value.items()
               if (sentence := self._why_unknown(node, pool))}
        if not odd:
            return fact
        last = last_of(before)
        files = {} if last is None else last_of(last.pools) or {}
        shown = {name: pool if name not in odd
                 else self._as_last_seen(node, pool, files.get(name), odd[name])
                 for name, pool in pools.value.items()}
        replicas = fact.value.replicas
        if isinstance(replicas, Known) and last is not None:
            replicas = replace(replicas, value=with_hidden(
                replicas.value, last_of(last.replicas) or {}, shown))
        return replace(fact, value=replace(
            fact.value, pools=replace(pools, value=shown), replicas=replicas))

    def _why_unknown(self, node: str, pool: PoolFacts) -> str:
        """Return why the content of a pool is unknown; empty where it is known."""
        if not pool.path or pool.unknown:
            return ""
        known = self._known.get(key_of(node, pool.name, pool.path))
        if known == identity_of(pool) or (known is None and not pool.identity):
            return ""
        if known is None and not pool.unmounted:
            self._learn(key_of(node, pool.name, pool.path), identity_of(pool))
            return ""
        what = f"{pool.path} lies on {pool.identity}" if pool.identity else (
            f"{pool.path} is not there")
        if pool.unmounted:
            what = f"nothing is mounted at {pool.unmounted}, where its files should be"
        was = f", and it lay on {known}" if known else ""
        return (f"{what}{was}: mount its file system there; if it is another one for good, `hotsite"
                f" approve accept-pool:Host/{node}@{node}/{pool.name}`")

    def _as_last_seen(self, node: str, pool: PoolFacts, last: PoolFacts | None,
                sentence: str) -> PoolFacts:
        """Return a pool with the files that it had when it was last on its own file system."""
        known = self._known.get(key_of(node, pool.name, pool.path))
        return replace(
            pool, unknown=sentence, replicas_unknown=sentence, identity=identity_of(pool),
            expected=known or f"the file system that belongs at {pool.unmounted}",
            volumes={} if last is None else last.volumes)

    def _learn(self, key: str, identity: str) -> None:
        self._known[key] = self._new[key] = identity


def key_of(node: str, pool: str, path: str) -> str:
    """Return the key of a pool in the store."""
    return f"{node} {pool} {path.rstrip('/')}"


def identity_of(pool: PoolFacts) -> str:
    """Return the file system below a pool, and the mount point that is not mounted, if any."""
    return f"{pool.identity}, {pool.unmounted} not mounted" if pool.unmounted else pool.identity


def with_hidden(seen: Mapping[str, ReplicaFacts], last: Mapping[str, ReplicaFacts],
                pools: Mapping[str, PoolFacts]) -> Mapping[str, ReplicaFacts]:
    """Return the replicas, those in unknown pools as they were last seen and unreadable."""
    places = {f"{pool.path.rstrip('/')}/{STORE}/": f"pool {name}: {pool.unknown}"
              for name, pool in pools.items() if pool.expected}
    mine = {uuid: one for uuid, one in seen.items()
            if not any(one.path.startswith(place) for place in places)}
    return mine | {uuid: replace(one, unreadable=why) for uuid, one in last.items()
                   for place, why in places.items()
                   if uuid not in mine and one.path.startswith(place)}

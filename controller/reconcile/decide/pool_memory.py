"""Which file system each pool lies on, remembered: an empty folder is no proof of absence.

Rule 1: what is seen in a pool that lies on another file system than before is not taken for what
        is in it; it stays what it was when it was last seen, until a person accepts the new one.
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
    """Looks at every answer of a host before anything is concluded from it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}
        self._new: dict[str, str] = {}

    def read(self) -> None:
        """Read what earlier processes saw.

        Errors: JournalUnavailable; what was read before stays.
        """
        self._known = {**self._store.remembered(Memory.POOL), **self._new}

    def write(self) -> None:
        """Write down what is new.

        Errors: JournalUnavailable; it is written the next time.
        """
        self._store.remember(Memory.POOL, self._new)
        self._new = {}

    def accept(self, action: Action) -> None:
        """Take a person's word that a pool lies on another file system for good."""
        if isinstance(action, AcceptPool):
            self._learn(key_of(action.node, action.pool, action.path), action.identity)

    def screen(self, node: str, fact: Fact[NodeFacts], before: Fact[NodeFacts]) -> Fact[NodeFacts]:
        """Return what may be concluded from an answer; pools on other file systems say nothing."""
        if not isinstance(fact, Known) or not isinstance(fact.value.pools, Known):
            return fact
        pools = fact.value.pools
        odd = {name: sentence for name, pool in pools.value.items()
               if (sentence := self._strange(node, pool))}
        if not odd:
            return fact
        last = last_of(before)
        files = {} if last is None else last_of(last.pools) or {}
        dim = {name: self._dimmed(node, pool, files.get(name), odd[name]) if name in odd else pool
               for name, pool in pools.value.items()}
        replicas = fact.value.replicas
        if isinstance(replicas, Known) and last is not None:
            replicas = replace(replicas, value=with_hidden(
                replicas.value, last_of(last.replicas) or {}, dim))
        return replace(fact, value=replace(
            fact.value, pools=replace(pools, value=dim), replicas=replicas))

    def _strange(self, node: str, pool: PoolFacts) -> str:
        """Return why what is seen in a pool proves nothing; empty where it does."""
        if not pool.path or pool.unknown:
            return ""
        known = self._known.get(key_of(node, pool.name, pool.path))
        if known == told(pool) or (known is None and not pool.identity):
            return ""
        if known is None and not pool.unmounted:
            self._learn(key_of(node, pool.name, pool.path), told(pool))
            return ""
        what = f"{pool.path} lies on {pool.identity}" if pool.identity else (
            f"{pool.path} is not there")
        if pool.unmounted:
            what = f"nothing is mounted at {pool.unmounted}, where its files should be"
        was = f", and it lay on {known}" if known else ""
        return (f"{what}{was}: mount its file system there; if it is another one for good, `hotsite"
                f" approve accept-pool:Host/{node}@{node}/{pool.name}`")

    def _dimmed(self, node: str, pool: PoolFacts, last: PoolFacts | None,
                sentence: str) -> PoolFacts:
        """Return a pool as it was when it was last on its own file system."""
        known = self._known.get(key_of(node, pool.name, pool.path))
        return replace(
            pool, unknown=sentence, replicas_unknown=sentence, identity=told(pool),
            expected=known or f"the file system that belongs at {pool.unmounted}",
            volumes={} if last is None else last.volumes)

    def _learn(self, key: str, identity: str) -> None:
        self._known[key] = self._new[key] = identity


def key_of(node: str, pool: str, path: str) -> str:
    """Return the name under which a pool is remembered."""
    return f"{node} {pool} {path.rstrip('/')}"


def told(pool: PoolFacts) -> str:
    """Return what a pool lies on, and which mount point it would lie on were that mounted."""
    return f"{pool.identity}, {pool.unmounted} not mounted" if pool.unmounted else pool.identity


def with_hidden(seen: Mapping[str, ReplicaFacts], last: Mapping[str, ReplicaFacts],
                pools: Mapping[str, PoolFacts]) -> Mapping[str, ReplicaFacts]:
    """Return the replicas, those of pools that show something else as they were, unreadable."""
    places = {f"{pool.path.rstrip('/')}/{STORE}/": f"pool {name}: {pool.unknown}"
              for name, pool in pools.items() if pool.expected}
    mine = {uuid: one for uuid, one in seen.items()
            if not any(one.path.startswith(place) for place in places)}
    return mine | {uuid: replace(one, unreadable=why) for uuid, one in last.items()
                   for place, why in places.items()
                   if uuid not in mine and one.path.startswith(place)}

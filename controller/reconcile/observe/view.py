"""
The view: the last answer of every declared node, and whether a new one is news.

    put(node, answer) ─► screen (pools on other file systems) ─► parts that are Unknown keep what
                         was seen last ─► differs from before, ages aside? ─► `version` grows

Rule 1: silence replaces an answer by an Unknown that holds the last facts; none are ever dropped.
Rule 2: a node that leaves the specs while it answers is removed: its VMs stay known, so that none
        is created a second time. A node that leaves while it is silent is gone: a person said so.
        But where too many are silent at once the fault may be ours, and no node counts as gone.
Rule 3: setting the clock back makes no fact younger: all keep their age. Setting it forward makes
        all facts old, as they may well be: the machine may have slept.
Rule 4: what BMCs say is kept beside, and is not saved: it is right only while somebody asks.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import inf
from typing import Any, Final, TypeVar

from controller.model.facts import Absent, Fact, Known, NodeFacts, Observed, Unknown
from controller.model.failover.power import PowerFacts
from controller.plan.survey.renamed import known_as
from controller.reconcile.observe.wall_clock import STEP_S, Wall

T = TypeVar("T")
LEAP: Final = 0.125
"""Share of a node's memory: smaller changes of what is free are no news."""
STORM: Final = 0.2
"""Share of the nodes known before a start: with more silent ones, none of them counts as gone."""
SLOW_S: Final = 5.0
"""A look that took longer is not fresh when it is answered."""
Screen = Callable[[str, Fact[NodeFacts], Fact[NodeFacts]], Fact[NodeFacts]]
"""(node, answer, what was known before) -> what may be concluded from the answer."""


def unscreened(_: str, fact: Fact[NodeFacts], __: Fact[NodeFacts]) -> Fact[NodeFacts]:
    """Return an answer as it is."""
    return fact


class View:
    """The facts of every node. `version` grows with every change that may alter a decision."""

    def __init__(self, clock: Callable[[], float],
                 steady: Callable[[], float] = lambda: 0.0, screen: Screen = unscreened) -> None:
        self._wall = Wall(clock, steady)
        self._screen = screen
        self._facts: dict[str, Fact[NodeFacts]] = {}
        self._begun_at: dict[str, float] = {}
        self._answered_at: dict[str, float] = {}
        self._stale_at: dict[str, float] = {}
        self._heard_at: dict[str, float] = {}
        self._last_facts: dict[str, Known[NodeFacts]] = {}
        self._silent: set[str] = set()
        self._removed: dict[str, Unknown[NodeFacts]] = {}
        self._gone: set[str] = set()
        self.doubted: dict[str, Known[NodeFacts]] = {}
        """The last facts of nodes that left the specs while too many were silent; to be saved."""
        self._is_declared = False
        self._versions: dict[str, int] = {}
        self._powers: dict[str, Fact[PowerFacts]] = {}
        self._power_versions: dict[str, int] = {}
        self.version = 0

    def _now(self) -> float:
        """Return the clock's time; where it was set back, shift all instants, so that ages stay."""
        now_s, step_s = self._wall.read()
        if step_s < 0.0:
            self._facts = {node: shifted(fact, step_s) for node, fact in self._facts.items()}
            self._removed = {node: replace(fact, since_at=fact.since_at + step_s)
                              for node, fact in self._removed.items()}
            self._powers = {host: shifted(fact, step_s) for host, fact in self._powers.items()}
            for instants in (self._stale_at, self._heard_at, self._answered_at):
                for node in instants:
                    instants[node] += step_s
            for node in self._begun_at:     # no look from before a step is fresh
                self._begun_at[node] += step_s - STEP_S
            self.version += 1
        return now_s

    def clock_step(self) -> str | None:
        """Return a sentence when the clock was set since the last call, else None."""
        self._now()
        return self._wall.step_sentence()

    @property
    def observed(self) -> Observed:
        """Return the facts of all declared nodes, and the last ones of removed nodes."""
        return Observed({**self._facts, **self._removed}, dict(self._powers),
                        self._wall.listening_since_at)

    @property
    def gone(self) -> tuple[str, ...]:
        """Return the nodes that left the specs while they were silent; the store forgets them."""
        return tuple(sorted(self._gone))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return the declared nodes, sorted."""
        return tuple(sorted(self._facts))

    @property
    def powers(self) -> tuple[str, ...]:
        """Return the declared hosts that have a BMC, sorted."""
        return tuple(sorted(self._powers))

    def power(self, host: str) -> Fact[PowerFacts]:
        """Return what the BMC of a declared host says."""
        return self._powers[host]

    def declare_powers(self, hosts: Iterable[str]) -> None:
        """Replace the set of hosts that have a BMC; a new one is Unknown until it was asked."""
        now_s = self._now()
        self._powers = {host: self._powers.get(host) or Unknown(
            f"the BMC of {host} has not been asked yet", now_s) for host in sorted(hosts)}
        self.version += 1

    def put_power(self, host: str, fact: Fact[PowerFacts]) -> bool:
        """Put in what the BMC of a host says; return whether it is news."""
        self._now()
        if host not in self._powers or isinstance(fact, Absent):
            return False
        before = self._powers[host]
        last = last_known(before)
        if isinstance(fact, Unknown) and fact.last is None:
            since_at = min(fact.since_at, before.since_at) if isinstance(before, Unknown) else (
                fact.since_at)
            fact = Unknown(fact.reason, since_at, last.value if last else None,
                           last.observed_at if last else None)
        self._powers[host] = fact
        if same(before, fact):
            return False
        self.version += 1
        self._power_versions[host] = self.version
        return True

    def power_version_of(self, host: str) -> int:
        """Return a number that grows when what is known of a host's power changes."""
        return self._power_versions.get(host, 0)

    def fact(self, node: str) -> Fact[NodeFacts]:
        """Return what is known of `node`."""
        return self._facts[node]

    def remember(self, remembered: Mapping[str, Known[NodeFacts]],
                 silent: Iterable[str] = ()) -> None:
        """Take over the last facts from before this process began; they are Unknown now.

        Shapes: `silent` are the nodes that did not answer when they were last asked.
        """
        self._last_facts.update(remembered)
        self._silent.update(silent)
        for node, last in sorted(remembered.items()):
            fact = self._facts.get(node)
            if isinstance(fact, Unknown) and fact.last is None:
                self._facts[node] = Unknown(fact.reason, fact.since_at, last.value,
                                            last.observed_at)
                self.version += 1
        self._remove_undeclared()

    def rename(self, nodes: Mapping[str, str]) -> None:
        """Give the last facts of renamed nodes to their new names.

        Shapes: new names by former ones.
        """
        for former, name in sorted(nodes.items()):
            fact = self._facts.pop(former, None) or self._removed.pop(former, None)
            last = (last_known(fact) if fact is not None else None) or self._last_facts.get(former)
            self._last_facts.pop(former, None)
            if former in self._silent:
                self._silent.discard(former)
                self._silent.add(name)
            if former in self._powers:
                self._powers.setdefault(name, self._powers.pop(former))
            if last is not None and name not in self._facts and name not in self._last_facts:
                self._last_facts[name] = Known(known_as(last.value, name), last.observed_at)

    def declare(self, nodes: Iterable[str], stormy: Iterable[str] = ()) -> None:
        """Replace the set of declared nodes; a new one is Unknown until it was looked at.

        Shapes: `stormy` nodes are silent together with too many others to count as gone.
        """
        wanted, doubtful = set(nodes), set(stormy)
        for node in sorted(self._facts.keys() - wanted):
            self._remove(node, self._facts.pop(node), doubtful=node in doubtful)
        for node in sorted(wanted - self._facts.keys()):
            last = self._last_facts.get(node)
            if node in self._removed:
                last = last_known(self._removed.pop(node)) or last
            self._gone.discard(node)
            self._facts[node] = Unknown(
                f"{node} has not been looked at yet", self._now(),
                last.value if last else None, last.observed_at if last else None)
        self._is_declared = True
        self._remove_undeclared()
        self.version += 1

    def _remove(self, node: str, fact: Fact[NodeFacts], *, doubtful: bool) -> None:
        """Count a node that left the specs as removed, or as gone if it was silent."""
        last = last_known(fact)
        asked = self._begun_at.pop(node, None) is not None
        silent = isinstance(fact, Unknown) and (asked or node in self._silent)
        self._silent.discard(node)
        self._last_facts.pop(node, None)
        domains_seen = last is not None and (isinstance(last.value.domains, Absent)
                                             or last_known(last.value.domains) is not None)
        if last is None or not domains_seen or (silent and not doubtful):
            self._gone.add(node)
        else:
            self._removed[node] = Unknown("it is no longer declared", self._now(), last.value,
                                          last.observed_at)
            self.version += 1
            if silent:
                self.doubted[node] = last

    def _remove_undeclared(self) -> None:
        """Remove every node whose last facts were taken over and that is not declared."""
        if not self._is_declared:
            return
        doubtful = len(self._silent) > max(1, STORM * len(self._last_facts | self._facts))
        for node in sorted(self._last_facts.keys() - self._facts.keys()):
            last = self._last_facts.pop(node)
            if node in self._removed or node in self._gone:
                continue
            self._remove(node, last if node not in self._silent else Unknown(
                "", last.observed_at, last.value, last.observed_at), doubtful=doubtful)

    def put(self, node: str, fact: Fact[NodeFacts], begun_at: float) -> bool:
        """Put in the answer to a look that began at `begun_at`; return whether it is news."""
        self._now()
        if node not in self._facts:
            return False
        before = self._facts[node]
        fact = self._screen(node, self._with_last(node, before, fact), before)
        self._facts[node] = fact
        self._begun_at[node] = begun_at
        self._answered_at[node] = self._now()
        if same(before, fact):
            return False
        self.version += 1
        self._versions[node] = self.version
        return True

    def version_of(self, node: str) -> int:
        """Return a number that grows when what is known of `node` changes."""
        return self._versions.get(node, 0)

    def mark_stale(self, node: str) -> None:
        """Note that we acted on `node`: facts from before now are too old to act on.

        Nobody looks at a removed node again, so its last facts are dropped.
        """
        self._stale_at[node] = self._now()
        removed = self._removed.get(node)
        if removed is not None and removed.last is not None:
            self._removed[node] = Unknown(removed.reason, removed.since_at)
            self.version += 1

    def mark_heard(self, node: str) -> None:
        """Note an event of `node`."""
        self._heard_at[node] = self._now()

    def fresh(self, node: str, within_s: float, burst_s: float = 0.0) -> bool:
        """Return whether `node` was looked at in the last `within_s`, with no event or act since.

        Shapes: events less than `burst_s` after the look began do not count; a look that was slow
        counts from its answer, else nothing would ever be done on a node that is slow.
        """
        begun_at = self._begun_at.get(node, -inf)
        answered_at = self._answered_at.get(node, begun_at)
        seen_at = answered_at if within_s / 2 <= answered_at - begun_at <= SLOW_S else begun_at
        return (self._now() - seen_at < within_s and not self.acted_since(node)
                and begun_at + burst_s >= self._heard_at.get(node, begun_at))

    def acted_since(self, node: str) -> bool:
        """Return whether something was done on `node` since the last look at it began."""
        return node in self._stale_at and self._begun_at.get(node, -inf) < self._stale_at[node]

    def answers(self, node: str) -> bool:
        """Return whether `node` answered when it was last asked."""
        return isinstance(self._facts.get(node), Known)

    def stale(self, after_s: float) -> tuple[str, ...]:
        """Return the nodes that answered, but not within `after_s`."""
        now_s = self._now()
        return tuple(node for node, fact in sorted(self._facts.items())
                     if isinstance(fact, Known) and now_s - fact.observed_at > after_s)

    def looked_at(self, node: str) -> bool:
        """Return whether `node` was looked at at least once, answer or not."""
        return node in self._begun_at

    def last_look_at(self, node: str) -> float | None:
        """Return when the last look at `node` began."""
        return self._begun_at.get(node)

    def _with_last(self, node: str, before: Fact[NodeFacts],
                     fact: Fact[NodeFacts]) -> Fact[NodeFacts]:
        """Return `fact`, each Unknown of it with the last facts that we have."""
        last = last_known(before) or self._last_facts.get(node)
        match fact:
            case Unknown(last=None) if last is not None:
                return Unknown(fact.reason, fact.since_at, last.value, last.observed_at)
            case Known(value=NodeFacts() as facts) if last is not None:
                return Known(_with_last_parts(facts, last.value), fact.observed_at)
        return fact


def shifted(fact: Fact[T], step_s: float) -> Fact[T]:
    """Return a fact with its instants shifted, since the clock was set by so much."""
    match fact:
        case Known():
            return replace(fact, observed_at=fact.observed_at + step_s)
        case Unknown():
            last_at = None if fact.last_at is None else fact.last_at + step_s
            return replace(fact, since_at=fact.since_at + step_s, last_at=last_at)
    return fact


def last_known(fact: Fact[T]) -> Known[T] | None:
    """Return the last value that was seen, and when; None when there is none."""
    match fact:
        case Known():
            return fact
        case Unknown(last=last, last_at=float() as at) if last is not None:
            return Known(last, at)
    return None


def _with_last_parts(facts: NodeFacts, before: NodeFacts) -> NodeFacts:
    """Return `facts`, each Unknown part with its value from `before`."""
    if not any(isinstance(part, Unknown) and part.last is None
               for part in (facts.hardware, facts.domains, facts.pools, facts.bridges,
                            facts.replicas, facts.records, facts.guard, facts.grantor,
                            facts.links)):
        return facts
    return replace(
        facts, hardware=_part(facts.hardware, before.hardware),
        domains=_part(facts.domains, before.domains), pools=_part(facts.pools, before.pools),
        bridges=_part(facts.bridges, before.bridges),
        replicas=_part(facts.replicas, before.replicas),
        records=_part(facts.records, before.records), guard=_part(facts.guard, before.guard),
        grantor=_part(facts.grantor, before.grantor), links=_part(facts.links, before.links))


def _part(fact: Fact[T], before: Fact[T]) -> Fact[T]:
    """Return one part; an Unknown one holds the last value."""
    last = last_known(before)
    if not isinstance(fact, Unknown) or fact.last is not None or last is None:
        return fact
    return Unknown(fact.reason, fact.since_at, last.value, last.observed_at)


def same(before: Fact[Any], after: Fact[Any]) -> bool:
    """Return whether two facts are the same to a decision: ages and loads do not count."""
    match before, after:
        case Known(value=NodeFacts() as old), Known(value=NodeFacts() as new):
            return old is new or _same_node(old, new)
        case Known(), Known():
            return bool(before.value is after.value or before.value == after.value)
        case Absent(), Absent():
            return True
        case Unknown(), Unknown():
            return before.reason == after.reason and (before.last is None) == (after.last is None)
    return False


def _same_node(old: NodeFacts, new: NodeFacts) -> bool:
    """Return whether nothing differs on the node that a decision could rest on."""
    return (old.boot_id == new.boot_id and old.versions == new.versions
            and old.product_uuid == new.product_uuid and same(old.dropped, new.dropped)
            and same(_steady(old), _steady(new)) and not _leaps(old, new)
            and same(old.domains, new.domains) and old.warnings == new.warnings
            and same(old.pools, new.pools) and same(old.bridges, new.bridges)
            and same(old.interfaces, new.interfaces) and same(old.capabilities, new.capabilities)
            and same(old.replicas, new.replicas) and same(old.leftovers, new.leftovers)
            and same(old.records, new.records) and same(old.guard, new.guard)
            and same(old.grantor, new.grantor) and same(old.links, new.links))


def _leaps(old: NodeFacts, new: NodeFacts) -> bool:
    """Return whether free memory changed so much that a VM may now fit, or no longer fit."""
    before, after = last_known(old.hardware), last_known(new.hardware)
    if before is None or after is None:
        return False
    moved = abs(after.value.memory_available_bytes - before.value.memory_available_bytes)
    return moved > LEAP * after.value.memory_bytes or (
        before.value.huge_free_bytes != after.value.huge_free_bytes)


def _steady(facts: NodeFacts) -> Fact[tuple[int, int, str]]:
    """Return the part of the hardware that does not change all the time."""
    match facts.hardware:
        case Known(value=hardware, observed_at=at):
            return Known((hardware.cpus, hardware.memory_bytes, hardware.architecture), at)
        case Absent() as absent:
            return absent
        case Unknown() as unknown:
            return Unknown(unknown.reason, unknown.since_at)

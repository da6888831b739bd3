"""SimulatedEstate: the provider of an estate that is only in memory.

Rule 1: latencies come from seeded dice and time from the running loop: one seed, one history.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from random import Random

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.desired import Desired
from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown
from controller.model.failover.power import PowerFacts
from controller.plan.actions.action import Action
from controller.plan.actions.fencing import FenceHost
from controller.plan.actions.replica import is_replica
from controller.plan.failover.probing import probes_of
from controller.plan.survey.spec_index import healths_of
from controller.providers.simulated.bmc import SimulatedBmc
from controller.providers.simulated.build import add_nodes, converge
from controller.providers.simulated.faults import strike
from controller.providers.simulated.operation import Operation, read_result
from controller.providers.simulated.paths import ping
from controller.providers.simulated.view import node_facts
from controller.providers.simulated.virtual_time import epoch_clock
from controller.providers.simulated.world import World

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 10.0
"""How long a connection may be silent before it counts as broken."""
UNDONE_WITHIN_S = 45.0
"""How long the hands ask for the state of a change that its node may undo; as the real ones."""
LINE_BROKEN_AFTER_S = 6.0
"""How long it takes to notice that a watcher's connection broke."""
LOOK_S = 0.5


def loop_time() -> float:
    """Return the running loop's time: the world has no other."""
    return asyncio.get_running_loop().time()


class SimulatedEstate:
    """Hosts and switches of the specs, in memory, with faults on command.

    Shapes: `converged` starts with everything as declared, else hosts and switches are bare;
    `world` is one that another controller has, too.
    """

    def __init__(self, desired: Desired, *, converged: bool = False, seed: int = 0,
                 clock: Callable[[], float] = epoch_clock, world: World | None = None) -> None:
        self.world = world or World(now=loop_time, epoch=clock)
        self.lost_requests = 0
        self.lost_replies = 0
        self._clock = clock
        self._dice = Random(f"estate-{seed}")
        self._last: dict[str, Known[NodeFacts]] = {}
        self._silent_since: dict[str, float] = {}
        self._operations = set[asyncio.Task[str]]()
        self._closed = False
        self._desired, self._healths = desired, healths_of(desired)
        self._bmcs: dict[str, SimulatedBmc] = {}
        self._declare_bmcs(desired)
        add_nodes(self.world, desired)
        if converged:
            converge(self.world, desired)

    async def declare(self, desired: Desired) -> None:
        """Add newly declared nodes, as bare machines."""
        self._desired, self._healths = desired, healths_of(desired)
        add_nodes(self.world, desired)
        self._declare_bmcs(desired)

    def forget(self) -> None:
        """Know nothing of what was seen before, as the hands of a controller that begins."""
        self._last.clear()
        self._silent_since.clear()

    def _declare_bmcs(self, desired: Desired) -> None:
        """Have a BMC for each host that declares one."""
        self._bmcs = {name: self._bmcs.get(name) or SimulatedBmc(self.world, name, self._clock)
                      for name, host in desired.hosts.items() if host.spec.bmc is not None}
        for name, one in self._bmcs.items():
            declared = desired.hosts[name].spec.bmc
            one.pinned = declared is not None and declared.fingerprint is not None

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Return what a host's BMC says."""
        bmc = self._bmcs.get(host)
        return Absent(self._clock()) if bmc is None else await bmc.observe()

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Poll a node and return its facts, Unknown with a sentence if it does not answer."""
        if not await self._answers(node):
            return self._silence(node, f"{node} does not answer: no reply over SSH within"
                                       f" {CONNECT_TIMEOUT_S:.0f}s")
        if self.world.node(node).babbling:
            return self._silence(node, f"{node} answered with something that is not facts:"
                                       " look at what its login shell prints")
        before = self._last.get(node)
        now = self._clock()
        seen = {name: one.value for name, one in self._last.items()} if self._healths else {}
        facts = node_facts(self.world, self.world.node(node), now,
                           before.value if before is not None else None,
                           probes_of(node, self._healths, self._desired, seen))
        self._silent_since.pop(node, None)
        self._last[node] = Known(facts, now)
        return self._last[node]

    async def _answers(self, node: str) -> bool:
        """Let a round trip pass, and return whether the node was reachable at its begin and end."""
        if self.world.reachable(node):
            await asyncio.sleep(self._dice.uniform(0.01, 0.08) + self.world.node(node).slow_s)
            if self.world.reachable(node):
                return True
        await asyncio.sleep(CONNECT_TIMEOUT_S)
        return False

    def _silence(self, node: str, reason: str) -> Unknown[NodeFacts]:
        """Return an Unknown with what was last seen."""
        since = self._silent_since.setdefault(node, self._clock())
        last = self._last.get(node)
        return Unknown(reason, since, last.value if last is not None else None,
                       last.observed_at if last is not None else None)

    async def apply(self, action: Action) -> str:
        """Make one change in the world and return a sentence that says what was done."""
        if isinstance(action, FenceHost):
            return await self._fence(action)
        if not await self._answers(action.node):
            raise Unavailable(f"{action.node} does not answer; nothing was sent to it")
        if self.lost_requests > 0:
            self.lost_requests -= 1
            await asyncio.sleep(REPLY_TIMEOUT_S)
            if action.reverts:
                raise Unavailable(f"{action.node}: the connection broke before {action.verb} began")
            raise OutcomeUnknown(f"{action.node}: no reply to {action.verb} in {REPLY_TIMEOUT_S}s")
        operation = Operation(self.world, action, self._dice)
        running = asyncio.create_task(operation.run(), name=action.target)
        self._operations.add(running)
        running.add_done_callback(self._operations.discard)
        running.add_done_callback(read_result)
        try:
            await self._until_done_or_silent(running, action.node)
            if action.reverts and not running.done():   # its hands ask until the node has undone it
                await asyncio.wait({running}, timeout=UNDONE_WITHIN_S)
        finally:
            if not running.done():
                operation.cut()
        if action.reverts and running.done():
            self.lost_replies = max(0, self.lost_replies - 1)
            return running.result()
        if not running.done() or not self.world.reachable(action.node):
            raise OutcomeUnknown(f"{action.node}: the connection broke during {action.verb}")
        if self.lost_replies > 0:
            self.lost_replies -= 1
            await asyncio.sleep(REPLY_TIMEOUT_S)
            raise OutcomeUnknown(f"{action.node}: the reply to {action.verb} was lost")
        return running.result()

    async def _fence(self, action: FenceHost) -> str:
        """Cut a host's power by its BMC; errors as of the real hand."""
        host = action.node
        if host not in self._bmcs:
            raise Refused(f"Host/{host} declares no BMC: it cannot be fenced by one")
        return await self._bmcs[host].fence(action.begin_s)

    async def _until_done_or_silent(self, running: "asyncio.Task[str]", node: str) -> None:
        """Wait for the end of an operation, or until its node has not answered for too long."""
        silent_s = 0.0
        while not running.done() and silent_s < REPLY_TIMEOUT_S:
            await asyncio.wait({running}, timeout=LOOK_S if silent_s else 5.0)
            silent_s = 0.0 if self.world.reachable(node) else silent_s + LOOK_S

    async def watch(self) -> AsyncIterator[str]:
        """Yield a node's name shortly after something happened there."""
        happened = asyncio.Queue[str]()
        listener = partial(self._report, happened)
        self.world.listeners.append(listener)
        try:
            while not self._closed:
                yield await happened.get()
        finally:
            self.world.listeners.remove(listener)

    def _report(self, happened: "asyncio.Queue[str]", node: str) -> None:
        delay_s = self._dice.uniform(0.02, 0.1)
        if not self.world.reachable(node):
            boots_in_s = self.world.node(node).ready_at - self.world.now()
            delay_s = boots_in_s + 1.0 if boots_in_s > 0 else LINE_BROKEN_AFTER_S
        asyncio.get_running_loop().call_later(delay_s, happened.put_nowait, node)

    async def close(self) -> None:
        """Stop the world."""
        self._closed = True
        for operation in list(self._operations):
            operation.cancel()
        await asyncio.gather(*self._operations, return_exceptions=True)

    @property
    def busy(self) -> bool:
        """Return whether any command besides replication is still running."""
        return any(not is_replica(one.get_name()) for one in self._operations)

    def command(self, text: str) -> str:
        """Strike one fault by its text and return a sentence; see faults.FAULTS.

        Errors: ValueError for words that are no fault.
        """
        match text.split():
            case ["lose-reply", *count]:
                self.lost_replies += 1 if count in ([], ["next"]) else int(count[0])
                return "the next reply will be lost"
            case ["lose-request", *count]:
                self.lost_requests += 1 if count in ([], ["next"]) else int(count[0])
                return "the next request will be lost"
            case _:
                return strike(self.world, text)

    def ping(self, source: str, destination: str) -> bool:
        """Return whether one guest reaches another now."""
        return ping(self.world, source, destination)

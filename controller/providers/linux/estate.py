"""A real estate: Linux hosts and switches, seen by one script and changed by libvirt's and Open
vSwitch's hands."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from controller.errors import ActionError, Refused
from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts, Unknown
from controller.plan.actions.action import Action
from controller.providers.libvirt.hands import LibvirtHands
from controller.providers.linux.fact_cache import Memory
from controller.providers.linux.facts import parse_answer
from controller.providers.linux.program import load_program
from controller.providers.linux.watch import Watchers
from controller.providers.openvswitch.hands import OpenVswitchHands
from controller.transport.base import Endpoint, Transport

ANSWER_S: Final = 8.0
"""The script gives its programs 5 s; what takes longer is a host that hangs."""
HOST_SECTIONS: Final = ("domains", "pools", "bridges", "interfaces", "replicas", "leftovers",
                         "capabilities")
SWITCH_SECTIONS: Final = ("bridges", "interfaces")


class Hands(Protocol):
    """Applies the actions of one outside system."""

    @property
    def HANDLES(self) -> frozenset[type[Action]]:  # noqa: N802
        """Return the actions it applies."""
        ...

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done."""
        ...


def endpoints_of(desired: Desired) -> tuple[Endpoint, ...]:
    """Return how every host and switch is reached."""
    ssh = desired.estate.spec.ssh
    addresses = {name: host.spec.address for name, host in desired.hosts.items()}
    addresses |= {name: switch.spec.address for name, switch in desired.switches.items()}
    return tuple(Endpoint(name=name, address=address, port=ssh.port, user=ssh.user,
                          key_file=ssh.key_file, known_hosts=ssh.known_hosts)
                 for name, address in sorted(addresses.items()))


def question_command(wanted: tuple[str, ...], digests: dict[str, str]) -> str:
    """Return the question for the facts script: what to say, and what need not be said again."""
    return json.dumps({"want": wanted, "known": digests}, separators=(",", ":"))


class LinuxEstate:
    """Nodes reached over `transport`; `clock` gives epoch seconds."""

    def __init__(self, transport: Transport, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._clock = clock
        self._memories: dict[str, Memory] = {}
        self._watchers = Watchers(transport, load_program("watch.py"))
        hands: tuple[Hands, ...] = (LibvirtHands(transport), OpenVswitchHands(transport))
        self._hands = {kind: hand for hand in hands for kind in hand.HANDLES}

    async def declare(self, desired: Desired) -> None:
        """Learn the nodes; what was seen of those that stay is kept."""
        wanted = {**dict.fromkeys(desired.hosts, HOST_SECTIONS),
                  **dict.fromkeys(desired.switches, SWITCH_SECTIONS)}
        memories = {}
        for name, sections in wanted.items():
            old = self._memories.get(name)
            memories[name] = old if old and old.wanted == sections else Memory(name, sections)
        self._memories = memories
        self._transport.declare(endpoints_of(desired))
        self._watchers.declare(frozenset(memories))

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Return what one poll of `node` says; any failure is an Unknown with a sentence."""
        memory = self._memories.get(node)
        asked_at = self._clock()
        if memory is None:
            return Unknown(f"{node} is not a declared host or switch", asked_at)
        try:
            question = question_command(memory.wanted, memory.digests)
            text = await self._transport.ask(node, load_program("facts.py"), question, ANSWER_S)
            return memory.learn(parse_answer(text), asked_at, self._clock())
        except ActionError as error:
            return memory.miss(str(error), asked_at)
        except ValueError as error:
            return memory.miss(f"{node} answered with something that is not understood ({error})",
                               asked_at)

    async def apply(self, action: Action) -> str:
        """Make one change by the hands whose business it is; errors as in the protocol."""
        hands = self._hands.get(type(action))
        if hands is None:
            raise Refused(f"nothing here can do {action.verb} on {action.node}")
        return await hands.apply(action)

    def watch(self) -> AsyncIterator[str]:
        """Yield a node's name when something happened there, or its line broke or came back."""
        return self._watchers.news()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._watchers.close()
        await self._transport.close()

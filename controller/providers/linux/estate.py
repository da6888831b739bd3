"""A real estate: Linux hosts and switches, observed by the facts script, changed by the hands of
libvirt, Open vSwitch and Redfish."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from controller.errors import ActionError, Refused
from controller.model.desired import Desired
from controller.model.facts import Fact, Known, NodeFacts, Unknown
from controller.model.failover.power import PowerFacts
from controller.model.failover.serving import Probe
from controller.model.host import HostSpec
from controller.model.login.ssh import LoginSpec, SshSpec, Sudo
from controller.model.protection_policy import HealthSpec
from controller.plan.actions.action import Action
from controller.plan.failover.probing import probes_of
from controller.plan.survey.networks.attachment import LINUXBRIDGE
from controller.plan.survey.spec_index import healths_of
from controller.providers.keepalived.hands import KeepalivedHands
from controller.providers.libvirt.hands import LibvirtHands
from controller.providers.linux.fact_cache import FactCache
from controller.providers.linux.facts import parse_answer, render_probe
from controller.providers.linux.guard import version
from controller.providers.linux.guard_facts import compared
from controller.providers.linux.guard_key import id_of, read_secret
from controller.providers.linux.hands import LinuxHands
from controller.providers.linux.program import load_program
from controller.providers.linux.watch import Watchers
from controller.providers.linuxbridge.hands import LinuxBridgeHands
from controller.providers.openvswitch.hands import OpenVswitchHands
from controller.providers.redfish.hands import RedfishHands
from controller.transport.base import Endpoint, Hop, Transport

ANSWER_S: Final = 8.0
"""The script gives its programs 5 s; a host that takes longer hangs."""
FIRST_ANSWER_S: Final = 20.0
"""Until a host has answered once: the script starts there first, and wakes libvirt."""
WAKING_S: Final = 10.0
"""What a first question gives libvirt: it was idle, and begins only now."""
HOST_SECTIONS: Final = ("domains", "pools", "bridges", "interfaces", "replicas", "leftovers",
                         "capabilities", "records", "guard", "grantor", "serving")
SWITCH_SECTIONS: Final = ("bridges", "dropped", "interfaces", "gateways")
WITNESS_SECTIONS: Final = ("interfaces", "records", "grantor")


class Hands(Protocol):
    """Applies the actions of one system, such as libvirt."""

    @property
    def HANDLES(self) -> frozenset[type[Action]]:  # noqa: N802
        """Return the actions it applies."""
        ...

    async def apply(self, action: Action) -> str:
        """Make one change and return a sentence that says what was done."""
        ...


def endpoints_of(desired: Desired) -> tuple[Endpoint, ...]:
    """Return the SSH endpoint of every node."""
    logins = {
        node.metadata.name: (node.spec.address, node.spec.ssh)
        for nodes in (desired.hosts, desired.switches, desired.witnesses)
        for node in nodes.values()}
    return tuple(endpoint_of(name, address, own, desired.estate.spec.ssh)
                 for name, (address, own) in sorted(logins.items()))


def endpoint_of(name: str, address: str, own: LoginSpec, common: SshSpec) -> Endpoint:
    """Return where a node is reached, and as whom; each field that is unset is the estate's."""
    user = common.user if own.user is None else own.user
    sudo = common.sudo if own.sudo is None else own.sudo
    jump = common.jump if own.jump is None else own.jump
    keys = own if own.key_file is not None else common      # a certificate is of one key
    return Endpoint(
        name=name, address=address, user=user,
        port=common.port if own.port is None else own.port,
        key_file=keys.key_file or "", known_hosts=common.known_hosts,
        sudo=begins_with_sudo(user, sudo),
        certificate_file=keys.certificate_file or own.certificate_file or "",
        agent=(common.agent if own.agent is None else own.agent) or "",
        jump=tuple(Hop(hop.address, hop.port, hop.user or user) for hop in jump))


def begins_with_sudo(user: str, sudo: Sudo = "auto") -> bool:
    """Return whether commands of this account are begun by `sudo -n`."""
    return user != "root" if sudo == "auto" else sudo


def key_id_of(desired: Desired) -> str:
    """Return the id of the guards' secret; empty where none is declared, or it cannot be read."""
    path = desired.estate.spec.failover.guard.key_file
    if path is None:
        return ""
    try:
        return id_of(read_secret(path))
    except Refused:     # whoever installs a guard says so
        return ""


def sections_of(spec: HostSpec) -> tuple[str, ...]:
    """Return the sections that a host is asked for: its devices only where they matter."""
    linked = spec.driver == LINUXBRIDGE or any(
        one.libvirt_network is not None for one in spec.attachments)
    return (*HOST_SECTIONS, "links") if linked else HOST_SECTIONS


def question_command(wanted: tuple[str, ...], digests: dict[str, str],
                     guests: tuple[Probe, ...] = (), waking_s: float = 0.0,
                     patience: float = 1.0) -> str:
    """Return the question for the facts script: the wanted sections, the known digests, what is to
    be asked of guests, how long an idle libvirtd may take to begin, and how many times longer than
    usual one may take."""
    more: dict[str, Any] = {"guests": [render_probe(one) for one in guests]} if guests else {}
    more |= {"waking_s": waking_s} if waking_s else {}
    more |= {"patience": patience} if patience != 1.0 else {}
    return json.dumps({"want": wanted, "known": digests, **more}, separators=(",", ":"))


class LinuxEstate:
    """Nodes reached over `transport`; `clock` gives epoch seconds.

    Shapes: changes go over `changing`, which adds the term; questions need none.
    """

    def __init__(self, transport: Transport, clock: Callable[[], float],
                 changing: Transport | None = None) -> None:
        self._transport = transport
        self._clock = clock
        self._caches: dict[str, FactCache] = {}
        self._key_id = ""
        self._desired: Desired | None = None
        self._healths: dict[str, HealthSpec] = {}
        self._watchers = Watchers(transport, load_program("watch.py"))
        self._redfish = RedfishHands(clock)
        over = changing or transport
        hands: tuple[Hands, ...] = (LibvirtHands(over), OpenVswitchHands(over),
                                    KeepalivedHands(over), LinuxHands(over), self._redfish)
        self._hands = {kind: hand for hand in hands for kind in hand.HANDLES}
        self._linux_bridges = LinuxBridgeHands(over)

    async def declare(self, desired: Desired) -> None:
        """Set the nodes; the facts of those that stay are kept."""
        wanted = {**{name: sections_of(host.spec) for name, host in desired.hosts.items()},
                  **dict.fromkeys(desired.switches, SWITCH_SECTIONS),
                  **dict.fromkeys(desired.witnesses, WITNESS_SECTIONS)}
        caches = {}
        for name, sections in wanted.items():
            old = self._caches.get(name)
            caches[name] = old if old and old.wanted == sections else FactCache(name, sections)
        self._caches, self._desired = caches, desired
        self._healths = healths_of(desired)
        self._key_id = key_id_of(desired)
        self._transport.declare(endpoints_of(desired))
        self._watchers.declare(frozenset(caches))
        await self._redfish.declare(desired)

    async def observe(self, node: str) -> Fact[NodeFacts]:
        """Poll a node and return its facts; any failure is an Unknown with a sentence."""
        cache = self._caches.get(node)
        asked_at = self._clock()
        if cache is None:
            return Unknown(f"{node} is not a declared node", asked_at)
        try:
            first = cache.last is None
            question = question_command(cache.wanted, cache.digests, self._probes(node),
                                        WAKING_S if first else 0.0)
            patience_s = FIRST_ANSWER_S if first else ANSWER_S
            text = await self._transport.ask(node, load_program("facts.py"), question, patience_s)
            known = cache.learn(parse_answer(text), asked_at, self._clock())
            return Known(compared(known.value, version(), self._key_id), known.observed_at)
        except ActionError as error:
            return cache.miss(str(error), asked_at)
        except ValueError as error:
            return cache.miss(f"{node} answered with something that is not understood ({error})",
                               asked_at)

    def _probes(self, node: str) -> tuple[Probe, ...]:
        """Return what a host is to ask of guests, by what was last seen."""
        if self._desired is None or not self._healths:
            return ()
        seen = {name: cache.last for name, cache in self._caches.items() if cache.last is not None}
        return probes_of(node, self._healths, self._desired, seen)

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Return what a host's BMC says."""
        return await self._redfish.observe_power(host)

    async def apply(self, action: Action) -> str:
        """Make one change by the hands that handle it; errors as in the protocol."""
        hands: Hands | None = self._hands.get(type(action))
        if getattr(action, "driver", "") == LINUXBRIDGE:
            hands = self._linux_bridges
        if hands is None:
            raise Refused(f"nothing here can do {action.verb} on {action.node}")
        return await hands.apply(action)

    def watch(self) -> AsyncIterator[str]:
        """Yield a node's name on an event there, or when its watcher broke or came up."""
        return self._watchers.news()

    async def close(self) -> None:
        """Close every connection."""
        await self._watchers.close()
        await self._redfish.close()
        await self._transport.close()

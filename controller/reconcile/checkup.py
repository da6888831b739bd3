"""Look at hosts as a doctor does: keys, facts, probes and BMCs, all at once and each bounded.

    key ──► facts and probes, over one login ──► checkups ──► findings (pure)
    BMC ─────────────────────────────────────────┘

A host is given BOUND_S for everything. What was not heard by then is not known, and is told as
such: silence is no finding of what it would have shown. Hosts do not wait for each other.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from controller.adoption.doctor.checkup import Checkup, Ward
from controller.adoption.doctor.host import folders
from controller.adoption.host_keys import Belief, KeyVerdict
from controller.adoption.reading import is_address
from controller.errors import ActionError
from controller.model.desired import Desired
from controller.model.facts import Fact, NodeFacts, Unknown
from controller.model.failover.power import PowerFacts
from controller.providers.base import Provider
from controller.providers.reader import HostAnswer, HostReader
from controller.reconcile.host_keys import KeyFinding, look_at_keys
from controller.transport.base import Endpoint

BOUND_S: Final = 7.5
PROBES_S: Final = 6.0
PROGRAM: Final = "doctor/probe.py"


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probes of one host answered, or why they did not."""

    probes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    python: tuple[int, ...] = ()
    hostname: str = ""
    trouble: str = ""


def question_for(name: str, desired: Desired, endpoints: Mapping[str, Endpoint],
                 facts: NodeFacts | None) -> str:
    """Return what a host's probes are to look at: its pools, and every other host."""
    peers = [{"name": other, "admin": host.spec.address, "port": endpoints[other].port,
              "user": endpoints[other].user,
              "replication": host.spec.replication_address or host.spec.address}
             for other, host in desired.hosts.items() if other != name and other in endpoints]
    names = {peer[key] for peer in peers for key in ("admin", "replication")}
    paths = folders(facts) if facts is not None else [
        pool.path for pool in desired.hosts[name].spec.folders]
    return json.dumps({"folders": paths, "peers": peers, "names": sorted(
        str(one) for one in names if not is_address(str(one)))}, separators=(",", ":"))


async def probe_host(reader: HostReader, name: str, question: str,
                     limit_s: float = PROBES_S) -> Probed:
    """Return what the probes of one host answer; any failure is a sentence."""
    try:
        found = json.loads(await reader.probe(name, PROGRAM, question, limit_s))
        probes = {str(key): dict(value) for key, value in found["probes"].items()}
        return Probed(probes, tuple(int(part) for part in found["python"]), found["hostname"])
    except ActionError as error:
        return Probed(trouble=str(error))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Probed(trouble=f"{name} answered with something that is not understood ({error!r})")


async def examine(reader: HostReader, provider: Provider, desired: Desired,
                  endpoints: Sequence[Endpoint], now_s: float) -> Ward:
    """Return the checkups of these hosts."""
    found = await asyncio.gather(*(
        _within_bound(reader, provider, desired, one, endpoints, now_s) for one in endpoints))
    return Ward(desired, {one.name: one for one in found})


async def _within_bound(reader: HostReader, provider: Provider, desired: Desired,
                        endpoint: Endpoint, endpoints: Sequence[Endpoint],
                        now_s: float) -> Checkup:
    """Return one host's checkup: what was heard of it within BOUND_S."""
    late = f"{endpoint.name} was not looked at within {BOUND_S:g} s"
    key = KeyFinding(endpoint, None, KeyVerdict(Belief.REFUSED, late))
    facts: Fact[NodeFacts] = Unknown(late, now_s)
    probed = Probed(trouble=late)
    power = asyncio.create_task(_power(provider, desired, endpoint.name, now_s))
    try:
        async with asyncio.timeout(BOUND_S):
            (key,) = await look_at_keys(reader, [endpoint], (), {})
            if key.verdict.belief is Belief.BELIEVED:
                question = question_for(endpoint.name, desired,
                                        {one.name: one for one in endpoints}, None)
                answer, probed = await asyncio.gather(
                    reader.read(endpoint.name), probe_host(reader, endpoint.name, question))
                facts = answer.facts
    except TimeoutError:    # what was not heard stays unknown
        return replace(checkup_of(desired, endpoint, key, HostAnswer(facts), probed, await power),
                       late=True)
    return checkup_of(desired, endpoint, key, HostAnswer(facts), probed, await power)


async def _power(provider: Provider, desired: Desired, name: str,
                 now_s: float) -> Fact[PowerFacts] | None:
    """Return what a host's BMC says; None where none is declared."""
    if desired.hosts[name].spec.bmc is None:
        return None
    try:
        async with asyncio.timeout(BOUND_S):
            return await provider.observe_power(name)
    except TimeoutError:
        return Unknown(f"it did not answer within {BOUND_S:g} s", now_s)


def checkup_of(desired: Desired, endpoint: Endpoint, key: KeyFinding, answer: HostAnswer,
               probed: Probed, power: Fact[PowerFacts] | None = None) -> Checkup:
    """Return one host's checkup from what was heard."""
    trouble = probed.trouble
    if isinstance(answer.facts, Unknown) and not probed.python:
        trouble = answer.facts.reason
    return Checkup(endpoint.name, desired.hosts[endpoint.name].spec, endpoint.user, endpoint.port,
                   key.verdict, answer.facts, key.shown, probed.probes, probed.python,
                   probed.hostname, trouble, power=power, known_hosts=endpoint.known_hosts,
                   key_file=endpoint.key_file)


def chosen(desired: Desired, endpoints: Iterable[Endpoint], names: Sequence[str],
           ) -> list[Endpoint]:
    """Return the hosts among these endpoints: those that are named, or all."""
    return [one for one in endpoints if one.name in desired.hosts
            and (not names or one.name in names or one.address in names)]


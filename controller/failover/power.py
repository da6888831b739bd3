"""Whether a host's BMC is that host's, and can cut its power: judged in peacetime.

A wrong address in a spec switches another machine off, and reads Off of it, while the host runs on.
Two things give it away. The system UUID that the BMC tells differs from the one that the host reads
from its own firmware; the first three fields may be in the other byte order, since SMBIOS 2.6 and
before said nothing of that. And a host that answers while its BMC reads Off cannot be that BMC's:
it is enough that it answered between two readings of Off that nothing else came between.
"""

import re
from typing import Final

from controller.model.condition import Status
from controller.model.facts import Fact, Known, NodeFacts, Unknown
from controller.model.failover.power import OFF, PowerFacts
from controller.model.units import render_duration, render_instant

UNREACHED_S: Final = 86400.0
"""A BMC that was not reached for so long cannot be counted on."""
LATE_S: Final = 2.0
"""An answer may have been on its way while the power went."""
FORCE_OFF: Final = "ForceOff"
Verdict = tuple[Status, str, str]
"""Status, reason and sentence of a condition."""


def fenceable(host: str, power: Fact[PowerFacts], node: Fact[NodeFacts], now_s: float) -> Verdict:
    """Return whether the BMC of a host could cut its power, and would prove it."""
    doubt = distrust(host, power, node)
    if doubt:
        return Status.FALSE, "AnotherMachine", doubt
    if not isinstance(power, Known):
        return unreached(power, now_s)
    told = power.value
    if told.refusal:
        return Status.FALSE, "Refused", told.refusal
    if told.resets and FORCE_OFF not in told.resets:
        return Status.FALSE, "NoForceOff", (f"its BMC offers no {FORCE_OFF}, only"
                                            f" {', '.join(told.resets)}")
    if not told.state:
        return Status.FALSE, "NoState", "its BMC tells no power state, so nothing proves it off"
    compared = "" if told.system_uuid and product_uuid(node) else (
        "; nobody could compare its system UUID with the host's")
    return Status.TRUE, "BmcAnswers", f"its BMC reads {told.state}{compared}"


def unreached(power: Fact[PowerFacts], now_s: float) -> Verdict:
    """Return what is to be said of a BMC that does not answer."""
    if not isinstance(power, Unknown):
        return Status.UNKNOWN, "NoBmc", "it has no BMC"
    since_at = power.unseen_since_at
    sentence = f"its BMC was not reached since {render_instant(since_at)}: {power.reason}"
    if now_s - since_at < UNREACHED_S:
        return Status.UNKNOWN, "BmcSilent", sentence
    return Status.FALSE, "BmcSilent", (f"{sentence}. After {render_duration(UNREACHED_S)} nobody"
                                       " should count on it")


def distrust(host: str, power: Fact[PowerFacts], node: Fact[NodeFacts]) -> str:
    """Return why the BMC of a host may be another machine's; empty if nothing speaks against it."""
    told = last_told(power)
    if told is None:
        return ""
    own = product_uuid(node)
    if own and told.system_uuid and not same_uuid(own, told.system_uuid):
        return (f"its BMC is another machine's: the BMC tells the system UUID {told.system_uuid},"
                f" and {host} itself {own}; correct `bmc.url` or `bmc.system` of Host/{host}")
    heard_at = node.observed_at if isinstance(node, Known) else None
    if (heard_at is not None and isinstance(power, Known) and told.state == OFF
            and told.off_since_at is not None
            and told.off_since_at + LATE_S < heard_at < power.observed_at):
        return (f"its BMC is another machine's: {host} answered while the BMC read {OFF}; correct"
                f" `bmc.url` or `bmc.system` of Host/{host}")
    return ""


def last_told(power: Fact[PowerFacts]) -> PowerFacts | None:
    """Return what a BMC said last; None if it never said anything."""
    match power:
        case Known(value=value):
            return value
        case Unknown(last=last):
            return last
    return None


def product_uuid(node: Fact[NodeFacts]) -> str:
    """Return the system UUID that a host reads from its own firmware; empty if it was never seen.
    """
    match node:
        case Known(value=facts):
            return facts.product_uuid
        case Unknown(last=facts) if facts is not None:
            return facts.product_uuid
    return ""


def same_uuid(one: str, other: str) -> bool:
    """Return whether two texts are one UUID, in either byte order of its first three fields."""
    first, second = (re.sub("[^0-9a-f]", "", text.lower()) for text in (one, other))
    return first in {second, swapped(second)}


def swapped(uuid: str) -> str:
    """Return 32 hexadecimal digits with the bytes of the first three fields the other way round."""
    pairs = [uuid[at:at + 2] for at in range(0, len(uuid), 2)]
    return "".join((*reversed(pairs[:4]), *reversed(pairs[4:6]), *reversed(pairs[6:8]),
                    *pairs[8:]))

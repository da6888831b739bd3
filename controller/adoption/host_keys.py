"""Whether a host key that was shown is the host's: by a fingerprint, by a file, or by a person.

    known for that address, the same         believed
    revoked anywhere                         refused
    known for that address, another          refused, with both fingerprints
    its fingerprint was given                believed
    known for another name                   a person is told so, and asked
    known nowhere                            a person is asked

A key that is known for that address stands before a fingerprint: a host that changed its key is
looked at by a person, who then takes the old line away.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple


class HostKey(NamedTuple):
    """A public host key: its kind, its base64 text and its fingerprint."""

    kind: str
    encoded: str
    fingerprint: str


class KnownKey(NamedTuple):
    """One line of a file of known hosts."""

    key: HostKey
    where: str
    """File and line."""
    names: tuple[str, ...]
    """Those that are not hashed."""
    matches: bool
    """Whether the line is for the address that is asked about."""
    marker: str = ""
    """revoked or cert-authority; empty for an ordinary line."""


class Belief(StrEnum):
    """What is to be done about a key."""

    BELIEVED = "believed"
    ASK = "ask"
    REFUSED = "refused"


class KeyVerdict(NamedTuple):
    """Whether a key is believed, with the reason."""

    belief: Belief
    sentence: str
    revoked: bool = False


def judge_key(host: str, shown: HostKey, known: Sequence[KnownKey],
              fingerprints: Collection[str]) -> KeyVerdict:
    """Return whether the key that `host` shows is believed."""
    same = [one for one in known if one.key.encoded == shown.encoded]
    revoked = next((one for one in same if one.marker == "revoked"), None)
    if revoked is not None:
        return KeyVerdict(Belief.REFUSED, f"{host} shows the {shown.kind} key {shown.fingerprint},"
                          f" which {revoked.where} revokes: give the host a new key", revoked=True)
    here = [one for one in known if one.matches and not one.marker]
    right = next((one for one in here if one.key.encoded == shown.encoded), None)
    if right is not None:
        return KeyVerdict(Belief.BELIEVED, f"{right.where} has it")
    if here:
        other = next((one for one in here if one.key.kind == shown.kind), here[0])
        return KeyVerdict(Belief.REFUSED, changed(host, shown, other))
    if shown.fingerprint in fingerprints:
        return KeyVerdict(Belief.BELIEVED, "its fingerprint was given")
    elsewhere = next((one for one in same if not one.marker), None)
    if elsewhere is not None:
        name = ", ".join(elsewhere.names) or "a name that is hashed there"
        return KeyVerdict(Belief.ASK, f"it is known as {name} ({elsewhere.where})")
    return KeyVerdict(Belief.ASK, "it is known nowhere")


def changed(host: str, shown: HostKey, other: KnownKey) -> str:
    """Return the sentence for a host whose key is not the one that is known."""
    return (f"the host key of {host} is not the one that is known: it shows {shown.kind}"
            f" {shown.fingerprint}, and {other.where} has {other.key.kind}"
            f" {other.key.fingerprint}. If it was installed again, compare the new one on its"
            " console and take that line away; else somebody answers in its place")

"""The host keys of hosts that are to be imported: shown, judged, and put down once believed."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.adoption.host_keys import Belief, HostKey, KeyVerdict, judge_key
from controller.errors import ActionError
from controller.providers.reader import HostReader
from controller.transport.base import Endpoint


@dataclass(frozen=True, slots=True)
class KeyFinding:
    """What is to be done about one host's key; `shown` is None where it showed none."""

    endpoint: Endpoint
    shown: HostKey | None
    verdict: KeyVerdict
    written: bool = False
    """Whether the file that logins go by has it already."""


async def look_at_keys(reader: HostReader, endpoints: Sequence[Endpoint], others: Sequence[Path],
                       fingerprints: Mapping[str, Collection[str]]) -> list[KeyFinding]:
    """Return the finding on each host's key.

    Shapes: `others` are files of known hosts besides the one that logins go by; `fingerprints`
    are by address, those under an empty one for every host.

    Errors: Refused for a file that cannot be read.
    """
    return await asyncio.gather(*(
        _look(reader, one, others, {*fingerprints.get("", ()), *fingerprints.get(one.address, ())})
        for one in endpoints))


async def _look(reader: HostReader, endpoint: Endpoint, others: Sequence[Path],
                fingerprints: Collection[str]) -> KeyFinding:
    from controller.transport.host_keys import known_keys  # noqa: PLC0415  # asyncssh is slow

    own = known_keys((Path(endpoint.known_hosts),), endpoint.address, endpoint.port)
    rest = known_keys(others, endpoint.address, endpoint.port)
    if any(one.matches and one.marker == "cert-authority" for one in own):
        return KeyFinding(endpoint, None, KeyVerdict(
            Belief.BELIEVED, f"{endpoint.known_hosts} has the authority that signs it"), True)
    mine = [one for one in own if one.matches and not one.marker]
    kinds = [one.key.kind for one in (mine or [one for one in rest if one.matches])]
    try:
        shown = await reader.shown_key(endpoint.name, kinds)
    except ActionError as error:
        return KeyFinding(endpoint, None, KeyVerdict(Belief.REFUSED, str(error)))
    # what the file of logins says of this address stands; other files may only add to it
    known = [*own, *(one for one in rest if one.marker == "revoked" or not (mine and one.matches))]
    verdict = judge_key(endpoint.name, shown, known, fingerprints)
    return KeyFinding(endpoint, shown, verdict,
                      any(one.key.encoded == shown.encoded for one in mine))

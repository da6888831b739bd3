"""Send one disk of an open copy: ask the source's mover, hear its progress, hear the result."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import OutcomeUnknown
from controller.replication.choice import Course, Opened
from controller.replication.mover import Mover, failure, parse_answer, verb_command
from controller.replication.picture import Picture

LAST_WORD_S: Final = 30.0
RELAY_S: Final = 24 * 3600.0
UNREACHABLE: Final = ("ssh: connect to host", "Cannot assign requested address", "timed out",
                      "No route to host", "Network is unreachable")


@dataclass(frozen=True, slots=True)
class Sent:
    """What one transfer carried."""

    left: tuple[tuple[int, int], ...]
    """Ranges for which the time did not suffice."""
    reached: int | None
    wire_bytes: int
    data_bytes: int
    read_bytes: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every transfer of a point."""

    codec: str
    rate_bps: float
    """Bits a second, as the mover counts; 0: as fast as it goes."""
    scratch_bytes: int | None = None
    """How much old content a copy may gather; None: what the source's mover finds right."""
    level: int = 1


def request_of(picture: Picture, opened: Opened, course: Course, terms: Terms, *, transfer: str,
               known: str, budget_s: float, to: dict[str, Any]) -> dict[str, Any]:
    """Return the request for the mover's `send`."""
    whole = "scan" if course.compare else "full"
    mode = whole if course.whole else "dirty"
    return {
        "socket": opened.socket, "export": opened.export, "disk": opened.target,
        "transfer": transfer, "mode": mode, "bitmap": opened.bitmap if mode == "dirty" else "",
        "ranges": course.ranges, "known": known if course.compare else "",
        "algorithm": picture.algorithm, "secret": picture.secret, "codec": terms.codec,
        "level": terms.level, "compress": "auto", "rate_bps": terms.rate_bps,
        "budget_s": budget_s, "to": to}


def parse_sent(result: dict[str, Any]) -> Sent:
    """Return a transfer from the mover's result.

    Errors: KeyError, TypeError or ValueError for a result of another shape.
    """
    return Sent(tuple((int(first), int(length)) for first, length in result["left"]),
                result["reached"], int(result["wire_bytes"]), int(result["data_bytes"]),
                int(result["read_bytes"]))


def is_unreachable(error: Exception) -> bool:
    """Return whether a transfer failed because the source host cannot reach the target host."""
    return any(words in str(error) for words in UNREACHABLE)


async def relay(source: Mover, target: Mover, root: str, request: dict[str, Any],
                failed: str) -> Sent:
    """Send one disk through the controller; the same errors as `send`."""
    told = {**request, "to": {"fds": [1]}}
    feeding = verb_command("send", request["socket"], text=json.dumps(told) + "\n",
                           timeout_s=RELAY_S)
    taking = verb_command("receive", root, timeout_s=RELAY_S)
    sent, got = await source.node.transport.relay((source.name, feeding), (target.name, taking))
    if got.exit_status != 0:
        raise failure(got, failed)
    if sent.exit_status != 0:
        raise failure(sent, failed)
    try:
        return parse_sent(parse_answer(sent.stderr)["result"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"{failed}, as far as is known: {error}") from error


async def send(source: Mover, request: dict[str, Any], failed: str,
               on_bytes: Callable[[int, int, int], None]) -> Sent:
    """Send one disk; `on_bytes` hears bytes read, to be read, and on the wire.

    Errors: Unavailable when the way or an end broke (what has come is kept), Refused,
    OutcomeUnknown.
    """
    async with source.converse("send", request, request["socket"]) as talk:
        result: dict[str, Any] | None = None
        while (line := await talk.hear()) is not None:
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if "progress" in told:
                progress = told["progress"]
                on_bytes(progress["read_bytes"], progress["total_bytes"], progress["wire_bytes"])
            result = told.get("result", result)
        reply = await talk.outcome(LAST_WORD_S)
    if reply.exit_status != 0:
        raise failure(reply, failed)
    try:
        if result is None:
            raise ValueError("it ended without a result")
        return parse_sent(result)
    except (KeyError, TypeError, ValueError) as error:
        raise OutcomeUnknown(f"{failed}, as far as is known: {error}") from error

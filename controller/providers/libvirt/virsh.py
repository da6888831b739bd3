"""The only access to libvirt: virsh on the host, and the meaning of its errors."""

import re
from typing import Final

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.virtual_machine import is_ambiguous
from controller.providers.node import Node, plain_command
from controller.transport.base import Command, Reply

CONNECT: Final = "qemu:///system"
STDIN: Final = "/dev/stdin"
LONGEST: Final = 300
NOISE: Final = (
    r"internal error: (process exited while connecting to monitor: )?",
    r"\S+Z qemu-system-\w+: ",
    r"-(blockdev|device|netdev|drive|object) \{.*?\}: ",
)
COMPLAINTS: Final = ("error: ", "qemu-img: ")
"""How error lines of virsh and qemu-img begin; other programs' warnings do not."""
NO_SUCH_DOMAIN: Final = ("failed to get domain", "Domain not found", "no domain with matching")
LINE_BROKE: Final = ("End of file while reading data", "client socket is closed",
                     "Disconnected from", "keepalive")
NEVER_REACHED: Final = ("failed to connect to the hypervisor", "Failed to connect socket",
                        "unable to connect to server", "cannot acquire state change lock",
                        "Connection refused", "Connection timed out", "No route to host",
                        "already has active job", "another job is", "already running a job")

KILLED: Final = 128
"""A higher exit status means death by a signal, as shells report it."""
CRASHED: Final = "crashed"
"""Also the state of a domain whose process libvirt preserves: that one is not off."""
OFF: Final = frozenset({"shut off", CRASHED})


def virsh_command(*words: str, text: str = "", timeout_s: float = 30.0) -> Command:
    """Return the command that runs virsh with `words`."""
    return plain_command("virsh", "-q", "-c", CONNECT, *words, text=text, timeout_s=timeout_s)


def parse_complaint(stderr: str) -> str:
    """Return virsh's or qemu-img's error output as one short line.

    Lines before their first error line are warnings of other programs, and are left out.
    """
    lines = [line.strip() for line in stderr.split("\n") if line.strip()]
    theirs = next((at for at, line in enumerate(lines) if line.startswith(COMPLAINTS)), 0)
    lines = lines[theirs:]
    texts = [re.sub(r"^(error|qemu-img|sh: [0-9]+): ?", "", line) for line in lines]
    texts = [line for line in texts if line]
    if len(texts) > 1 and lines[0].startswith("error: ") and re.match(r"Failed to ", texts[0]):
        texts = texts[1:]
    text = "; ".join(texts)
    for pattern in NOISE:
        text = re.sub(pattern, "", text)
    text = text or "it gave no reason"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def is_missing(reply: Reply) -> bool:
    """Return whether virsh reports that there is no such domain, and no other error.

    It also reports that it failed to get a domain when libvirt closes the connection meanwhile.
    """
    lines = [line for line in reply.stderr.split("\n") if line.startswith(COMPLAINTS[0])]
    return reply.exit_status != 0 and bool(lines) and all(
        any(words in line for words in NO_SUCH_DOMAIN) for line in lines)


def failure(reply: Reply, sentence: str) -> ActionError:
    """Return the error for a failed reply; `sentence` says what did not happen, and where."""
    complaint = parse_complaint(reply.stderr)
    if any(words in reply.stderr for words in NEVER_REACHED):
        return Unavailable(f"{sentence}: {complaint}; it is tried again")
    if reply.exit_status > KILLED:
        return OutcomeUnknown(f"{sentence}, as far as is known: it was killed at its work"
                              f" ({complaint}); it is looked at again")
    if any(words in reply.stderr for words in LINE_BROKE):
        return OutcomeUnknown(f"{sentence}, as far as is known: libvirt hung up ({complaint});"
                              " it is looked at again")
    return Refused(f"{sentence}: {complaint}")


def address_of(name: str, uuid: str) -> str:
    """Return what virsh finds a domain by: its UUID where its name could be another's."""
    return uuid if uuid and is_ambiguous(name) else name


async def virsh(node: Node, *words: str, failed: str, text: str = "",
                timeout_s: float = 30.0) -> str:
    """Return what virsh printed; `failed` begins the sentence when it fails."""
    reply = await node.run(virsh_command(*words, text=text, timeout_s=timeout_s))
    if reply.exit_status != 0:
        raise failure(reply, failed)
    return reply.stdout


async def find_state(node: Node, domain: str) -> str | None:
    """Return a domain's state in libvirt's words, None if there is no such domain."""
    reply = await node.run(virsh_command("domstate", "--", domain))
    if is_missing(reply):
        return None
    if reply.exit_status != 0:
        raise failure(reply, f"the state of {domain} on {node.name} could not be read")
    state = reply.stdout.strip()
    if state == CRASHED:
        number = await virsh(node, "domid", "--", domain,
                             failed=f"whether {domain} on {node.name} is off could not be read")
        return CRASHED if number.strip() == "-" else "crashed, and its process is still there"
    return state


async def find_xml(node: Node, domain: str, *, inactive: bool) -> str | None:
    """Return a domain's XML with its secrets, None if there is no such domain.

    A definition that was read without its secrets would lose them when it is written back.
    """
    flags = ("--inactive",) if inactive else ()
    reply = await node.run(virsh_command("dumpxml", "--security-info", *flags, "--", domain))
    if is_missing(reply):
        return None
    if reply.exit_status != 0:
        raise failure(reply, f"the definition of {domain} on {node.name} could not be read")
    return reply.stdout

"""Guards and grantors on nodes: their program, what they are told, and what grantors are ordered.

The program is controller/remote/guard, one archive that is named by its hash:

    /run/hotsite/guard/guard-HASH.pyz      in memory, as all that the guard needs once it runs

Every command compares the file with the hash and runs it; where it is missing the shell exits with
NOT_INSTALLED and nothing has run, so it is sent over standard input and the command is run again.

Rule 1: keys go over standard input alone.
Rule 2: how it ended is read from the exit status: 1 Refused, 2 Unavailable, 76 a controller of a
        higher term has been there; after any other it may have happened.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.guarding import (
    InstallGrantor,
    InstallGuard,
    RestoreGrants,
    RevokeGrants,
)
from controller.providers.linux import archive
from controller.providers.linux.archive import digest
from controller.providers.linux.guard_key import derived, id_of, read_secret
from controller.providers.node import Node, script_command
from controller.transport import resident
from controller.transport.base import Command
from controller.transport.json_text import parse_json

FOLDER: Final = "/run/hotsite/guard"
DURABLE: Final = "/var/lib/hotsite/guard"
PIDS: Final = "/run/libvirt/qemu"
EVERY_S: Final = 1.0
NOT_INSTALLED: Final = 126
REFUSED, TRY_AGAIN, SUPERSEDED = 1, 2, 76
VERSION_CHARACTERS: Final = 16
RUN: Final = f"""
file=$1 sum=$2; shift 2
echo "$sum  $file" | sha256sum -c --quiet >/dev/null 2>&1 || exit {NOT_INSTALLED}
exec {" ".join(resident.PYTHON)} "$file" "$@"
"""


def version() -> str:
    """Return the version of the program, as guards and grantors show it."""
    return digest("guard")[:VERSION_CHARACTERS]


def program_path() -> str:
    """Return where the program lies on nodes."""
    return f"{FOLDER}/guard-{version()}.pyz"


def install_command() -> Command:
    """Return the command that puts the program on a node, whole or not at all."""
    return archive.install_command("guard", program_path())


def verb_command(verb: str, *words: str, told: Mapping[str, Any], timeout_s: float) -> Command:
    """Return the command that runs one verb."""
    return script_command(RUN, program_path(), digest("guard"), verb, FOLDER, *words,
                          text=json.dumps(told), timeout_s=timeout_s)


async def run_verb(node: Node, command: Command, failed: str) -> dict[str, Any]:
    """Run a verb of the program, which is installed if need be, and return its answer.

    Errors: by the exit status; `failed` says what did not happen.
    """
    reply = await node.run(command)
    if reply.exit_status == NOT_INSTALLED:
        put = await node.run(install_command())
        if put.exit_status != 0:
            raise Refused(f"{failed}: its program could not be put there: {put.stderr.strip()}")
        reply = await node.run(command)
    said = complaint(reply.stderr)
    if reply.exit_status in {REFUSED, SUPERSEDED, NOT_INSTALLED}:
        raise Refused(f"{failed}: {said}")
    if reply.exit_status == TRY_AGAIN:
        raise Unavailable(f"{failed}: {said}; it is tried again")
    try:
        answer = parse_json(reply.stdout) if reply.exit_status == 0 else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise OutcomeUnknown(f"{failed}, as far as is known: {said}; it is looked at again")
    return answer


def complaint(stderr: str) -> str:
    """Return the sentence of the error that the program wrote."""
    last = (stderr.strip().splitlines() or ["it said nothing"])[-1]
    try:
        said = parse_json(last)
    except ValueError:
        return last
    return str(said["failed"]) if isinstance(said, dict) and "failed" in said else last


async def install_guard(node: Node, action: InstallGuard) -> str:
    """Tell a guard what it goes by, and start it, or a newer one in its place."""
    orders = action.orders
    secret = read_secret(orders.key_file)
    told = {"digest": f"{orders.digest}.{id_of(secret)}", "host": orders.host,
            "key": derived(secret, orders.host), "victims": orders.victims, "pids": PIDS,
            "grantors": [{"name": one.name, "address": one.address, "port": one.port}
                         for one in orders.grantors], "every_s": EVERY_S,
            "deadline_s": orders.deadline_s, "kill_s": orders.kill_s, "feed_s": orders.feed_s,
            "watchdog_s": orders.watchdog_s, "watchdog": orders.watchdog}
    await run_verb(node, verb_command("guard", told=told, timeout_s=45.0),
                   f"the guard of {node.name} was not set up")
    return (f"the guard of {node.name} runs and asks"
            f" {', '.join(one.name for one in orders.grantors)}")


async def install_grantor(node: Node, action: InstallGrantor) -> str:
    """Tell a grantor to whom it may grant, and start it, or a newer one in its place."""
    orders = action.orders
    secret = read_secret(orders.key_file)
    told = {"digest": f"{orders.digest}.{id_of(secret)}", "name": orders.name,
            "address": orders.address, "port": orders.port,
            "keys": {host: derived(secret, host) for host in orders.hosts}}
    await run_verb(node, verb_command("grantor", DURABLE, told=told, timeout_s=45.0),
                   f"the grantor of {node.name} was not set up")
    return f"the grantor of {node.name} answers {', '.join(orders.hosts) or 'nobody yet'}"


async def revoke_grants(node: Node, action: RevokeGrants) -> str:
    """Have a grantor refuse hosts, durably."""
    answer = await run_verb(node, order_command("revoke", action),
                            f"{node.name} was not made to refuse {', '.join(action.hosts)}")
    ages = ", ".join(f"{host} {float(answer['ages'][host]['age_s']):.0f} s ago"
                     if answer["ages"][host]["since"] == "grant" else
                     f"{host} never since it began {float(answer['ages'][host]['age_s']):.0f} s ago"
                     for host in action.hosts)
    return f"{node.name} refuses them for epoch {action.epoch}; it granted last to {ages}"


async def restore_grants(node: Node, action: RestoreGrants) -> str:
    """Have a grantor grant to hosts again."""
    answer = await run_verb(node, order_command("restore", action),
                            f"{node.name} still refuses {', '.join(action.hosts)}")
    kept = [str(host) for host in answer["kept"]]
    if kept:
        raise Refused(f"{node.name} refuses {', '.join(kept)} for a higher epoch than"
                      f" {action.epoch}")
    return f"{node.name} grants to {', '.join(action.hosts)} again"


def order_command(verb: str, action: RevokeGrants | RestoreGrants) -> Command:
    """Return the command that orders a grantor to refuse or to grant."""
    return verb_command(verb, timeout_s=20.0, told={
        "epoch": action.epoch, "hosts": action.hosts,
        "order": {"term": action.term, "by": action.by, "why": action.reason}})

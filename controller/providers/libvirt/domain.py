"""Hands for a domain's power: start, resume, shut down, restart, and libvirt's autostart."""

from typing import Final

from controller.errors import OutcomeUnknown, Refused
from controller.plan.actions.machine import (
    DisableAutostart,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
)
from controller.providers.libvirt.precondition import MISSING, written_files
from controller.providers.libvirt.virsh import (
    CONNECT,
    OFF,
    failure,
    find_state,
    virsh,
    virsh_command,
)
from controller.providers.node import Node, script_command
from controller.transport.base import Command

START_TIMEOUT_S: Final = 120.0
DESTROY_TIMEOUT_S: Final = 60.0
# The host does the waiting, in one round trip. The request is repeated every ten seconds: a guest
# that is still booting ignores it.
SHUT_DOWN: Final = """
name=$1 limit=$2 connect=$3 begun=$(cut -d. -f1 /proc/uptime) asked=-10
shift 3
for path in "$@"; do [ -e "$path" ] || { printf '%s' "$path" >&2; exit 76; }; done
while :; do
    waited=$(($(cut -d. -f1 /proc/uptime) - begun))
    state=$(virsh -q -c "$connect" domstate -- "$name") || exit 1
    # a crashed guest may still have a process, and then a domain ID
    [ "$state" != crashed ] || [ "$(virsh -q -c "$connect" domid -- "$name")" != - ] || exit 0
    [ "$state" != 'shut off' ] || exit 0
    [ "$waited" -lt "$limit" ] || exit 3
    if [ $((waited - asked)) -ge 10 ]; then
        virsh -q -c "$connect" shutdown --mode acpi -- "$name" >&2
        asked=$waited
    fi
    sleep 0.25
done
"""
STILL_ON: Final = 3


def shut_down_command(domain: str, limit_s: float, files: tuple[str, ...] = ()) -> Command:
    """Return the command that asks a guest to shut down and waits; exit status 3: it is still on.

    Shapes: if one of `files` is missing, the guest is not asked.
    """
    return script_command(SHUT_DOWN, domain, str(round(limit_s)), CONNECT, *files,
                          timeout_s=limit_s + 60)


async def start(node: Node, action: StartDomain) -> str:
    """Start a defined domain, unless it runs already."""
    failed = f"{action.domain} was not started on {node.name}"
    reply = await node.run(virsh_command("start", "--", action.uuid or action.domain,
                                         timeout_s=START_TIMEOUT_S))
    if reply.exit_status != 0 and "already active" in reply.stderr:
        return f"{action.domain} runs on {node.name} already"
    if reply.exit_status != 0:
        raise failure(reply, failed)
    return f"started {action.domain} on {node.name}"


async def resume(node: Node, action: ResumeDomain) -> str:
    """Resume a paused domain."""
    state = await find_state(node, action.domain)
    if state == "running":
        return f"{action.domain} runs on {node.name} already"
    if state != "paused":
        raise Refused(f"{action.domain} on {node.name} is not paused but"
                      f" {state or 'not defined'}: nothing was resumed")
    await virsh(node, "resume", "--", action.domain,
                failed=f"{action.domain} on {node.name} is still paused")
    return f"resumed {action.domain} on {node.name}"


async def shut_down(node: Node, action: ShutDownDomain | RestartDomain) -> str:
    """Ask the guest to shut down, and cut its power after `limit_s`."""
    state = await find_state(node, action.domain)
    if state is None or state in OFF:
        return f"{action.domain} is off on {node.name} already"
    files = await written_files(node, action.domain)
    return await switch_off(node, action.domain, action.limit_s, files)


async def switch_off(node: Node, domain: str, limit_s: float, files: tuple[str, ...] = ()) -> str:
    """Switch off a domain; a transient one is gone afterwards.

    Errors: Refused when one of `files` was deleted: only the running QEMU still has its data.
    """
    reply = await node.run(shut_down_command(domain, limit_s, files))
    if reply.exit_status == MISSING:
        raise Refused(f"{domain} was not shut down on {node.name}: {reply.stderr} was deleted while"
                      f" it runs, and would be lost with it; bring it to another file first, with"
                      f" `virsh blockcopy {domain} --path {reply.stderr}`")
    if reply.exit_status == 0:
        return f"{domain} shut down cleanly on {node.name}"
    if reply.exit_status != STILL_ON:
        if await find_state(node, domain) is None:
            return f"{domain} shut down on {node.name} and is gone: it was transient"
        raise failure(reply, f"{domain} on {node.name} was asked to shut down, but not watched")
    return await cut_power(node, domain, limit_s)


async def cut_power(node: Node, domain: str, limit_s: float) -> str:
    """Destroy a domain that did not shut down: gracefully first, then by force."""
    for manner in (("--graceful",), ()):
        reply = await node.run(virsh_command("destroy", *manner, "--", domain,
                                             timeout_s=DESTROY_TIMEOUT_S))
        state = await find_state(node, domain)
        if state is None or state in OFF:
            return (f"cut the power of {domain} on {node.name}:"
                    f" it had not shut down after {limit_s:.0f} s")
    if reply.exit_status == 0:
        raise OutcomeUnknown(f"the power of {domain} on {node.name} was cut, yet it is {state};"
                             " it is looked at again")
    raise failure(reply, f"{domain} on {node.name} did not shut down in {limit_s:.0f} s,"
                         " and its power could not be cut")


async def restart(node: Node, action: RestartDomain) -> str:
    """Shut a domain down and start it again, with the changes that waited for its next boot."""
    off = await shut_down(node, action)
    said = await virsh(node, "domstate", "--reason", "--", action.domain,
                       failed=f"{action.domain} was not started again on {node.name}")
    if "(migrated)" in said:
        # it was migrated away meanwhile and runs elsewhere: its files here are old
        raise Refused(f"{action.domain} was moved away from {node.name} while it was to restart:"
                      " it is not started here")
    begin = StartDomain(target=action.target, node=action.node, reason=action.reason,
                        domain=action.domain)
    return f"{off}; {await start(node, begin)}"


async def disable_autostart(node: Node, action: DisableAutostart) -> str:
    """Switch libvirt's own autostart of a domain off."""
    await virsh(node, "autostart", "--disable", "--", action.domain,
                failed=f"the autostart of {action.domain} on {node.name} is still on")
    return f"{node.name} no longer starts {action.domain} by itself at boot"

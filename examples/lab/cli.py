"""Read the lab's command line and do what it says."""

import argparse
import os
import sys
import time

import estate
import faults
import keys
import nodes
from channel import ask
from layout import GIB, MARK, STATE, load_topology, topology_of
from shell import LabError

FAULTS = "\n".join(f"  {name:<28} {said}" for name, said in faults.HELP)


def arguments() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="bring the lab up; harmless when it is up")
    up.add_argument("--hosts", type=int, default=0, help="hosts per site, 1 to 9 (default 2)")
    up.add_argument("--memory", type=float, default=0, help="GiB that each host claims to have")
    up.add_argument("--pool", type=float, default=0, help="GiB of each host's pool (default 40)")
    down = verbs.add_parser("down", help="take the lab down, leaving nothing behind but its keys")
    down.add_argument("--keep", action="store_true", help="keep the hosts' disks and databases")
    verbs.add_parser("check", help="say whether this machine can carry the lab")
    verbs.add_parser("status", help="say which nodes are on")
    ssh = verbs.add_parser("ssh", help="log in to a node")
    ssh.add_argument("node")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    inside = verbs.add_parser("exec", help="run a command in a node, past its sshd")
    inside.add_argument("node")
    inside.add_argument("command", nargs=argparse.REMAINDER)
    guest = verbs.add_parser("guest", help="run a command in a guest: lab guest HOST VM ping …")
    guest.add_argument("host")
    guest.add_argument("vm")
    guest.add_argument("command", nargs=argparse.REMAINDER)
    for verb in ("break", "mend"):
        fault = verbs.add_parser(
            verb,
            help=f"{verb} something",
            epilog="faults:\n" + FAULTS,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        fault.add_argument("fault")
        fault.add_argument("details", nargs="*")
    return parser


def bring_up(asked: argparse.Namespace) -> int:
    """Bring the lab up and say how long it took."""
    begun = time.monotonic()
    if not 0 <= asked.hosts <= 9:
        raise LabError(f"--hosts must be from 1 to 9, not {asked.hosts}")
    topology = topology_of(asked.hosts or 2, int(asked.memory * GIB), int(asked.pool * GIB))
    if not (asked.hosts or asked.memory or asked.pool) and (STATE / "standing").exists():
        topology = load_topology()
    changed = estate.up(topology)
    took = f"in {time.monotonic() - begun:.1f} s" if changed else "already"
    print(f"the lab is up {took}: {len(topology.nodes)} nodes, key {STATE / 'id_ed25519'}")
    return 0


def show_status() -> int:
    """Print one line per node; status 1 when one of them is not on."""
    rows = estate.status(load_topology())
    for name, address, condition in rows:
        print(f"{name:<12} {address:<12} {condition}")
    return 0 if all(condition == "on" for _, _, condition in rows) else 1


def command_of(asked: argparse.Namespace) -> list[str]:
    """Return the command after NODE, without the -- before it."""
    words: list[str] = asked.command
    return words[1:] if words[:1] == ["--"] else words


def become(argv: list[str]) -> int:
    """Replace this process by the command; its exit status is then ours."""
    sys.stdout.flush()
    os.execvp(argv[0], argv)


def log_in(asked: argparse.Namespace) -> int:
    """Become an ssh client with the controller's key and strict host keys."""
    node = load_topology().node(asked.node)
    known = f"UserKnownHostsFile={STATE}/known_hosts"
    options = ("BatchMode=yes", "StrictHostKeyChecking=yes", known)
    words = ["ssh", "-F", "none", "-i", str(keys.CONTROLLER)]
    for option in options:
        words += ["-o", option]
    return become([*words, f"root@{node.address('adm')}", *command_of(asked)])


def dispatch(asked: argparse.Namespace) -> int:
    """Do what was asked and return the exit status."""
    if asked.verb == "check":
        return 0
    if asked.verb == "up":
        return bring_up(asked)
    if asked.verb == "down":
        estate.down(keep=asked.keep)
        return 0
    if asked.verb == "status":
        return show_status()
    if asked.verb == "ssh":
        return log_in(asked)
    topology = load_topology()
    if asked.verb == "exec":
        node = topology.node(asked.node)
        return become(nodes.inside(node, *(command_of(asked) or ["bash"])))
    if asked.verb == "guest":
        output, status = ask(topology.host(asked.host), asked.vm, " ".join(command_of(asked)))
        sys.stdout.write(output)
        return status
    said = faults.strike(topology, asked.fault, asked.details, mend=asked.verb == "mend")
    print(said)
    return 0


def main() -> int:
    """Run one command of the lab; a failure is one sentence and status 1."""
    os.environ[MARK] = str(STATE)
    asked = arguments().parse_args()
    try:
        estate.check_machine()
        status = dispatch(asked)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os._exit(141)  # whoever read our output has gone, as `head` does
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1

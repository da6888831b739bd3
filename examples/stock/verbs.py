"""Read the command line of the stock hosts and do what it says."""

import argparse
import os
import subprocess
import sys
import time

import build
import check
import guided
import power
from places import CACHE, EVERY, HOSTS, StockError, host_of, run, ssh_argv


def arguments() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    parser = argparse.ArgumentParser(prog="stock", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help="build what is missing of the images, and boot nothing")
    up = verbs.add_parser("up", help="build what is missing, boot, wait; harmless when it is up")
    up.add_argument("hosts", nargs="*", help="deb12, deb13, deb12b; without one, the first two")
    up.add_argument("--keep", action="store_true", help="on the disks they had when cut off")
    verbs.add_parser("check", help="go the whole way of an estate on fresh hosts, then down")
    verbs.add_parser("guide", help="follow examples/first-estate on three fresh hosts, then down")
    verbs.add_parser("down", help="cut them off and take away all but the images")
    verbs.add_parser("status", help="say which are up, and what they cost")
    ssh = verbs.add_parser("ssh", help="log in: stock ssh [--user ops] HOST [COMMAND …]")
    ssh.add_argument("--user", default="root")
    ssh.add_argument("host")
    ssh.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def bring_up(asked: argparse.Namespace) -> int:
    """Bring hosts up and say how long it took."""
    begun = time.monotonic()
    hosts = tuple(map(host_of, asked.hosts)) or HOSTS
    for host in hosts:
        build.build(host)
    power.up(hosts, keep=asked.keep)
    print(f"{' and '.join(host.name for host in hosts)}: up after"
          f" {time.monotonic() - begun:.0f} s; key {CACHE / 'id_ed25519'}, host keys"
          f" {CACHE / 'known_hosts'}")
    return 0


def show_status() -> int:
    """Print one line per host; status 1 when one of the first two is off."""
    pids = {host: power.pid_of(host) for host in EVERY}
    for host, pid in pids.items():
        said = "off" if pid is None else "on, {} MiB".format(
            int(run("ps", "-o", "rss=", "-p", str(pid))) // 1024)
        print(f"{host.name:<7} {host.suite:<9} {host.address:<11} {said}")
    return 0 if all(pids[host] for host in HOSTS) else 1


def dispatch(asked: argparse.Namespace) -> int:
    """Do what was asked and return the exit status."""
    if asked.verb == "build":
        for host in HOSTS:
            build.build(host)
    elif asked.verb == "up":
        return bring_up(asked)
    elif asked.verb in {"check", "guide"}:
        power.down()
        hosts, go = (HOSTS, check.check) if asked.verb == "check" else (EVERY, guided.check_guide)
        for host in hosts:
            build.build(host)
        try:
            go()
        finally:
            power.down()
    elif asked.verb == "down":
        power.down()
    elif asked.verb == "status":
        return show_status()
    else:
        words = asked.command[1:] if asked.command[:1] == ["--"] else asked.command
        return subprocess.run([*ssh_argv(host_of(asked.host), asked.user), *words],
                              check=False).returncode
    return 0


def main() -> int:
    """Run one command; a failure is one sentence and status 1."""
    asked = arguments().parse_args()
    if os.geteuid() != 0:
        print("stock: the stock hosts need network namespaces: run this as root", file=sys.stderr)
        return 1
    try:
        return dispatch(asked)
    except StockError as error:
        print(f"stock: {error}", file=sys.stderr)
        return 1

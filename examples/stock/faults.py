"""Faults as they happen on hosts: doctor has to find each, and its advice has to mend it when it is
typed word by word, as the sudo user would."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from places import HOSTS, KEY, KNOWN_HOSTS, Stock, StockError, host_of, on, run, ssh_argv

DEB12, DEB13 = HOSTS
BAD = {"stops you", "will hurt"}
UNKNOWN = "not known"
OFTEN = 3  # an advice that was typed so often and is given again does not mend
MEND_S = 1200.0
FORGOTTEN = "/var/lib/libvirt/images/forgotten.iso"


class Fault(NamedTuple):
    """One fault: how it came about, and by which words of a finding it is known."""

    host: Stock
    script: str
    about: str
    check: str
    words: str


PAIR = f"Host/{DEB12.name} to Host/{DEB13.name}"
BACK = f"Host/{DEB13.name} to Host/{DEB12.name}"
TABLE = ("nft add table inet own; nft add chain inet own in"
         " '{ type filter hook input priority 0; }';")
FAULTS = (
    Fault(DEB12, "touch /dev/kvm", f"Host/{DEB12.name}", "kvm", "ordinary file"),
    Fault(DEB12, "echo MaxSessions 2 >/etc/ssh/sshd_config.d/10-own.conf; systemctl reload ssh",
          f"Host/{DEB12.name}", "sessions", "allows 2 sessions"),
    Fault(DEB12, "virsh -q pool-destroy images", f"Host/{DEB12.name}", "pool", "is not active"),
    Fault(DEB12, f"fallocate -l $(df -B1 --output=avail / | awk 'NR>1 {{print int($1*0.97)}}')"
                 f" {FORGOTTEN}", f"Host/{DEB12.name}", "room", "left"),
    Fault(DEB13, "mkdir /data; virsh -q pool-define-as data dir --target /data; virsh -q pool-start"
                 " data", f"Host/{DEB13.name}", "apparmor", "/data"),
    Fault(DEB13, "systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd",
          f"Host/{DEB13.name}", "libvirt", "socket"),
    Fault(DEB13, f"{TABLE} nft add rule inet own in tcp dport 49152-49215 drop", PAIR, "ports",
          "nothing answers"),
    Fault(DEB13, f"{TABLE} nft add rule inet own in meta length gt 1400 drop", PAIR, "mtu", "1400"),
    Fault(DEB13, "date -u -s '3 hours ago'", f"Host/{DEB13.name}", "clock", "behind"),
    Fault(DEB12, "", PAIR, "key exchange", "does not know the host key"),
    Fault(DEB12, "", PAIR, "key exchange", "log in as"),
    Fault(DEB13, "", BACK, "key exchange", "may not use libvirt"),
)


def plant() -> None:
    """Make every fault; those without a script are how hosts are that nobody prepared."""
    for fault in FAULTS:
        if fault.script:
            on(fault.host, fault.script)


def mend_all(examine: Callable[[], str], work: Path) -> list[Fault]:
    """Type what doctor advises until nothing bad is left; return the faults that were found.

    One fault can hide another, and a host that is slow leaves checks undone: doctor is asked again
    until all is known and well.
    """
    seen: list[dict[str, str]] = []
    typed: dict[tuple[str, str], int] = {}
    deadline = time.monotonic() + MEND_S
    while True:
        findings = json.loads(examine())["findings"]
        found = [one for one in findings if one["level"] in BAD]
        seen += found
        unknown = [one for one in findings if one["level"] == UNKNOWN]
        if not found and not unknown:
            return [one for one in FAULTS if is_found(one, seen)]
        again = [mend for mend, count in typed.items() if count >= OFTEN]
        if again or time.monotonic() > deadline:
            raise StockError(f"what doctor advises does not mend: {json.dumps(found, indent=1)}"
                             f"\nnot known: {json.dumps(unknown, indent=1)}")
        for mend, where in dict.fromkeys((one["mend"], one["on"]) for one in found):
            typed[mend, where] = typed.get((mend, where), 0) + 1
            type_in(mend, where, work)


def is_found(fault: Fault, seen: Iterable[dict[str, str]]) -> bool:
    """Say whether one of the findings is this fault."""
    return any((one["about"], one["check"]) == (fault.about, fault.check)
               and fault.words in one["what"] for one in seen)


def type_in(mend: str, where: str, work: Path) -> None:
    """Type one advice where it says."""
    if where == "here":
        run("sh", "-c", mend, env={**os.environ, "PATH": f"{with_ssh(work)}:{os.environ['PATH']}"})
        return
    if not where:
        raise StockError(f"nobody can type this: {mend}")
    said = as_ops(host_of(where), mend)
    if FORGOTTEN in said:  # it shows the largest; that one is to go is a person's decision
        as_ops(host_of(where), f"rm {FORGOTTEN}")


def as_ops(host: Stock, script: str) -> str:
    """Run a script as the sudo user does who has said `sudo -s`."""
    done = subprocess.run([*ssh_argv(host, "ops"), "sudo -s"], input=script, capture_output=True,
                          text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise StockError(f"{script} failed on {host.name}: {done.stdout}{done.stderr}")
    return done.stdout


def with_ssh(work: Path) -> Path:
    """Return a folder with an ssh that has the key and the known hosts of a person here."""
    folder = work / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F none -i {KEY} -o BatchMode=yes -o'
                       f' UserKnownHostsFile={KNOWN_HOSTS} "$@"\n')
    program.chmod(0o755)
    return folder

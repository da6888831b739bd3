"""The checks of one host: can we log in, is what we need there, and what of it would hurt."""

import re
from collections.abc import Iterator
from typing import Final

from controller.adoption.doctor.apparmor import may_read
from controller.adoption.doctor.checkup import Checkup
from controller.adoption.doctor.finding import Finding, Level, not_known
from controller.adoption.host_keys import Belief
from controller.model.facts import Known, NodeFacts
from controller.model.units import render_duration, render_size

OLDEST_PYTHON: Final = (3, 9)
OLDEST_LIBVIRT: Final = (7, 2)
"""The first whose backup jobs keep their checkpoints over restarts."""
SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
CLOCK_HURTS_S: Final = 2.0
LEAST_FREE: Final = 0.1
"""Of a file system that replicas or scratch files lie on."""
SESSIONS: Final = 10
REPLICAS: Final = "hotsite-replicas"


def check_host(one: Checkup) -> Iterator[Finding]:
    """Yield what is wrong on one host; where nobody gets in, only that."""
    if one.late and not one.python and one.seen is None:
        yield not_known(one.about, "login", one.trouble,
                        f"ssh -p {one.port} {one.user}@{one.spec.address}")
        return
    yield from check_key(one)
    if one.key.belief is not Belief.BELIEVED:
        return
    if not one.python and one.seen is None:
        yield Finding(Level.STOPS, one.about, "login", one.trouble or "it was not looked at",
                      "nothing can be seen or done there",
                      "hotsite sudoers   # and put it there as /etc/sudoers.d/hotsite"
                      if "sudo" in one.trouble else
                      f"ssh-copy-id -p {one.port} {one.user}@{one.spec.address}")
        return
    yield from check_python(one)
    yield from check_account(one)
    yield from check_libvirt(one)
    yield from check_unseen(one)
    yield from check_kvm(one)
    yield from check_apparmor(one)
    yield from check_clock(one)
    yield from check_room(one)
    yield from check_sshd(one)
    yield from check_noexec(one)


def check_key(one: Checkup) -> Iterator[Finding]:
    """Yield a host key that is not known, or not the known one."""
    if one.key.belief is Belief.BELIEVED:
        return
    if one.shown is None:
        yield Finding(Level.STOPS, one.about, "reach", one.key.sentence,
                      "nothing can be seen or done there",
                      f"ssh -p {one.port} {one.user}@{one.spec.address}")
    elif one.key.belief is Belief.REFUSED:
        yield Finding(Level.STOPS, one.about, "host key", one.key.sentence,
                      "nothing is sent there: somebody may answer in its place",
                      "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub   # on its console")
    else:
        yield Finding(Level.STOPS, one.about, "host key",
                      f"its {one.shown.kind} key {one.shown.fingerprint} is not known:"
                      f" {one.key.sentence}",
                      "a host whose key nobody confirmed is never talked to",
                      f"hotsite import {one.spec.address} --fingerprint"
                      f" {one.spec.address}={one.shown.fingerprint}")


def check_python(one: Checkup) -> Iterator[Finding]:
    """Yield a Python that is too old for what is sent there."""
    if one.python and one.python[:2] < OLDEST_PYTHON:
        has = ".".join(map(str, one.python))
        yield Finding(Level.STOPS, one.about, "python", f"python3 is {has}",
                      "what is sent there needs Python 3.9",
                      "install Python 3.9 or newer as python3")
    elif not one.python:
        yield not_known(one.about, "python", one.trouble)


def check_account(one: Checkup) -> Iterator[Finding]:
    """Yield an account that may do too little, or whose shell is in the way."""
    seen = one.probe("account")
    if "unknown" in seen:
        yield not_known(one.about, "account", seen["unknown"])
        return
    if seen["uid"] != 0 and not seen["sudo"]:
        yield Finding(Level.STOPS, one.about, "account",
                      f"{seen['user']} is not root and may not become it by sudo without a"
                      " password",
                      "VMs cannot be looked at or changed there",
                      f"hotsite sudoers | ssh root@{one.spec.address} 'cat"
                      " >/etc/sudoers.d/hotsite && visudo -c'")
    shell = seen["shell"].rpartition("/")[2]
    if shell in {"nologin", "false"}:
        yield Finding(Level.STOPS, one.about, "shell", f"the shell of {seen['user']} is"
                      f" {seen['shell']}", "no command can be started",
                      f"usermod -s /bin/sh {seen['user']}")
    elif shell and shell not in SHELLS:
        yield Finding(Level.NOTE, one.about, "shell", f"the shell of {seen['user']} is"
                      f" {seen['shell']}", "start-up files that print or ask are in the way of"
                      " every command", f"usermod -s /bin/sh {seen['user']}")


def check_libvirt(one: Checkup) -> Iterator[Finding]:
    """Yield a libvirt that does not answer, or is too old."""
    seen = one.probe("libvirt")
    if "unknown" in seen:
        yield not_known(one.about, "libvirt", seen["unknown"])
        return
    if not seen["answers"]:
        if seen["status"] == 127:
            what, mend = "virsh is not installed", "apt-get install libvirt-daemon-system"
        elif not seen["sockets"]:
            what = "neither libvirtd nor virtqemud has a socket there"
            mend = "systemctl enable --now libvirtd.socket   # or virtqemud.socket"
        else:
            what = f"{' and '.join(seen['sockets'])} does not answer: {seen['error']}"
            mend = f"systemctl restart {seen['sockets'][0]}"
        yield Finding(Level.STOPS, one.about, "libvirt", what, "its VMs are unknown", mend)
        return
    version = (one.seen.versions if one.seen else {}).get("libvirt", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_LIBVIRT:
        yield Finding(Level.STOPS, one.about, "libvirt", f"libvirt is {version}",
                      "incremental copies need libvirt 7.2", "upgrade libvirt there")


def check_unseen(one: Checkup) -> Iterator[Finding]:
    """Yield domains and pools that libvirt lists and cannot show, and pools that are not active."""
    facts = one.seen
    if facts is None:
        return
    domains = facts.domains.value if isinstance(facts.domains, Known) else {}
    for name, domain in sorted(domains.items()):
        if domain.unknown:
            yield Finding(Level.HURTS, one.about, "domain", f"{name} cannot be read:"
                          f" {domain.unknown}", "it is neither copied nor managed",
                          f"virsh domjobinfo {quoted(name)}; virsh dumpxml"
                          f" {quoted(name)}")
    pools = facts.pools.value if isinstance(facts.pools, Known) else {}
    declared = {pool.path for pool in one.spec.folders}
    for name, pool in sorted(pools.items()):
        if pool.path in declared and (pool.unknown or not pool.active):
            trouble = f"cannot be read: {pool.unknown}" if pool.unknown else "is not active"
            yield Finding(Level.HURTS, one.about, "pool", f"{name} {trouble}",
                          "no disk or replica in it can be used",
                          f"virsh pool-start {quoted(name)}; ls -ld {pool.path}")


def quoted(name: str) -> str:
    """Return a name as one word of a shell."""
    return name if re.fullmatch(r"[A-Za-z0-9_.@%+:-]+", name) else (
        "'" + name.replace("'", "'\\''") + "'")


def check_kvm(one: Checkup) -> Iterator[Finding]:
    """Yield a /dev/kvm that is no device: QEMU then starts no guest that wants KVM."""
    seen = one.probe("kvm")
    if "unknown" in seen:
        yield not_known(one.about, "kvm", seen["unknown"])
    elif seen["is"] == "file":
        yield Finding(Level.STOPS, one.about, "kvm", "/dev/kvm is an ordinary file",
                      "no guest that uses KVM starts there",
                      "rm /dev/kvm && modprobe kvm_intel || modprobe kvm_amd")
    elif seen["is"] == "absent":
        yield Finding(Level.NOTE, one.about, "kvm", "there is no /dev/kvm",
                      "its guests are emulated, and slow", "modprobe kvm_intel || modprobe kvm_amd")


def check_apparmor(one: Checkup) -> Iterator[Finding]:
    """Yield a pool in which libvirt's AppArmor helper would not find a replica's files."""
    seen, facts = one.probe("apparmor"), one.seen
    if "unknown" in seen:
        yield not_known(one.about, "apparmor", seen["unknown"])
        return
    if not seen["on"] or facts is None:
        return
    if not seen["profile"]:
        yield not_known(one.about, "apparmor", "AppArmor is on, and the profile of virt-aa-helper"
                        " cannot be read")
        return
    for pool in folders(facts):
        wanted = [f"{pool}/{REPLICAS}/UUID/vda/{file}" for file in ("base.raw", "rp-1.qcow2")]
        if not all(may_read(seen["profile"], path) for path in wanted):
            yield Finding(Level.HURTS, one.about, "apparmor",
                          f"virt-aa-helper may not read {pool}/{REPLICAS}",
                          "a VM that is promoted from there does not start",
                          f"echo '{pool}/** r,' >>/etc/apparmor.d/local/"
                          "usr.lib.libvirt.virt-aa-helper && apparmor_parser -r"
                          " /etc/apparmor.d/usr.lib.libvirt.virt-aa-helper")


def folders(facts: NodeFacts) -> list[str]:
    """Return the folders of a host's pools."""
    if not isinstance(facts.pools, Known):
        return []
    return sorted({pool.path for pool in facts.pools.value.values()
                   if pool.type in {"dir", "fs", "netfs"} and pool.path})


def check_clock(one: Checkup) -> Iterator[Finding]:
    """Yield a clock that differs from the controller's."""
    facts = one.seen
    if facts is None:
        yield not_known(one.about, "clock", one.trouble or "it gave no facts")
    elif abs(facts.clock_offset_s) > CLOCK_HURTS_S + facts.clock_error_s:
        way = "ahead of" if facts.clock_offset_s > 0 else "behind"
        yield Finding(Level.HURTS, one.about, "clock", f"its clock is"
                      f" {render_duration(abs(facts.clock_offset_s))} {way} the controller's",
                      "ages of copies, logs of two hosts and certificates cannot be compared",
                      "timedatectl set-ntp true")


def check_room(one: Checkup) -> Iterator[Finding]:
    """Yield a pool's file system that is nearly full, or cannot be written."""
    for name in sorted(one.probes):
        if not name.startswith("room "):
            continue
        folder, seen = name.removeprefix("room "), one.probes[name]
        if "unknown" in seen:
            yield not_known(one.about, "room", f"{folder}: {seen['unknown']}")
        elif seen["readonly"]:
            yield Finding(Level.STOPS, one.about, "room", f"{folder} is mounted read-only",
                          "no replica and no scratch file can be written there",
                          f"mount -o remount,rw $(findmnt -nT {folder} -o TARGET)")
        elif seen["free_bytes"] < LEAST_FREE * seen["total_bytes"]:
            yield Finding(Level.HURTS, one.about, "room", f"{folder} has"
                          f" {render_size(seen['free_bytes'])} of"
                          f" {render_size(seen['total_bytes'])} left",
                          "a copy's scratch file, or a replica, may fill it, and VMs on it then"
                          " pause", f"df -h {folder}; du -xh --max-depth=1 {folder} | sort -h")
        elif seen["inodes"] and seen["free_inodes"] < LEAST_FREE * seen["inodes"]:
            yield Finding(Level.HURTS, one.about, "room", f"{folder} has few inodes left",
                          "no file can be made there soon", f"df -i {folder}")


def check_sshd(one: Checkup) -> Iterator[Finding]:
    """Yield settings of sshd that are in our way."""
    seen = one.probe("sshd")
    if "unknown" in seen:
        yield not_known(one.about, "sshd", seen["unknown"])
        return
    sessions = seen.get("maxsessions", "")
    if sessions.isdigit() and int(sessions) < SESSIONS:
        yield Finding(Level.HURTS, one.about, "sessions", f"sshd allows {sessions} sessions on a"
                      " connection", "each further command needs a login of its own",
                      f"echo 'MaxSessions {SESSIONS}' >/etc/ssh/sshd_config.d/hotsite.conf &&"
                      " systemctl reload ssh")


def check_noexec(one: Checkup) -> Iterator[Finding]:
    """Yield where nothing may be executed, if libvirt's own helpers need it."""
    seen = one.probe("mounts")
    if "unknown" in seen:
        yield not_known(one.about, "noexec", seen["unknown"])
        return
    where = sorted(place for place, options in seen.items() if "noexec" in options.split(","))
    if where:
        yield Finding(Level.NOTE, one.about, "noexec", f"{', '.join(where)} is mounted noexec",
                      "nothing: what is sent there is run by python3", "")

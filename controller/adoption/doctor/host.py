"""The checks of one host: can we log in, is what we need there, and what of it would hurt."""

import re
from collections.abc import Iterator
from typing import Final

from controller.adoption.doctor.apparmor import may_read
from controller.adoption.doctor.checkup import Checkup, Probe
from controller.adoption.doctor.finding import HERE, Finding, Level, not_known
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
SSH_PORT: Final = 22
BEGINS_S: Final = 60.0
"""What libvirt may take from its start to its first answer."""
REPLICAS: Final = "hotsite-replicas"
USUAL_POOL: Final = "/var/lib/libvirt/images"
QEMU_TOOLS: Final = {"apt-get": "qemu-utils", "dnf": "qemu-img", "zypper": "qemu-tools"}
SSH_CLIENT: Final = {"apt-get": "openssh-client", "dnf": "openssh-clients",
                     "zypper": "openssh-clients"}
CONSOLE: Final = ("only once `for key in /etc/ssh/ssh_host_*.pub; do ssh-keygen -lf $key; done` on"
                  " its console prints")


def check_host(one: Checkup) -> Iterator[Finding]:
    """Yield what is wrong on one host; where nobody gets in, only that."""
    if one.late and not one.python and one.seen is None:
        yield not_known(one.about, "login", one.trouble,
                        ssh(one), HERE)
        return
    yield from check_key(one)
    if one.key.belief is not Belief.BELIEVED:
        return
    if not one.python and one.seen is None:
        yield Finding(Level.STOPS, one.about, "login", one.trouble or "it was not looked at",
                      "nothing can be seen or done there",
                      sudoers(one) if "sudo" in one.trouble else
                      f"ssh-copy-id -i {quoted(one.key_file)} -p {one.port}"
                      f" {one.user}@{one.spec.address}", HERE)
        return
    yield from check_python(one)
    yield from check_account(one)
    yield from check_libvirt(one)
    yield from check_programs(one)
    yield from check_unseen(one)
    yield from check_kvm(one)
    yield from check_apparmor(one)
    yield from check_clock(one)
    yield from check_room(one)
    yield from check_sshd(one)


def check_key(one: Checkup) -> Iterator[Finding]:
    """Yield a host key that is not known, or not the known one."""
    if one.key.belief is Belief.BELIEVED:
        return
    if one.shown is None:
        yield Finding(Level.STOPS, one.about, "reach", one.key.sentence,
                      "nothing can be seen or done there",
                      ssh(one), HERE)
    elif one.key.revoked:
        yield Finding(Level.STOPS, one.about, "host key", one.key.sentence,
                      "nothing is sent there: somebody else may have this key",
                      "rm /etc/ssh/ssh_host_*_key* && ssh-keygen -A && systemctl restart ssh"
                      "   # on its console")
    elif one.key.belief is Belief.REFUSED:
        yield Finding(Level.STOPS, one.about, "host key", one.key.sentence,
                      "nothing is sent there: somebody may answer in its place",
                      f"ssh-keygen -R {quoted(known_as(one))} -f {quoted(one.known_hosts)}"
                      f"   # {CONSOLE} {one.shown.fingerprint}; then hotsite doctor says what"
                      " to do with it", HERE)
    else:
        yield Finding(Level.STOPS, one.about, "host key",
                      f"its {one.shown.kind} key {one.shown.fingerprint} is not known:"
                      f" {one.key.sentence}",
                      "a host whose key nobody confirmed is never talked to",
                      f"echo '{known_as(one)} {one.shown.kind} {one.shown.encoded}'"
                      f" >>{quoted(one.known_hosts)}   # {CONSOLE} {one.shown.fingerprint}", HERE)


def known_as(one: Checkup) -> str:
    """Return what a file of known hosts calls a host."""
    return one.spec.address if one.port == SSH_PORT else f"[{one.spec.address}]:{one.port}"


def check_python(one: Checkup) -> Iterator[Finding]:
    """Yield a Python that is too old for what is sent there."""
    if one.python and one.python[:2] < OLDEST_PYTHON:
        has = ".".join(map(str, one.python))
        yield Finding(Level.STOPS, one.about, "python", f"python3 is {has}",
                      "what is sent there needs Python 3.9",
                      "install Python 3.9 or newer as python3", "")
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
                      sudoers(one), HERE)
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
        if seen["status"] == 124 and 0 <= seen.get("began_s", -1) < BEGINS_S:
            yield not_known(one.about, "libvirt", f"{' and '.join(seen['sockets'])} was idle, began"
                            f" {seen['began_s']:.0f} s ago and does not answer yet",
                            "hotsite doctor   # once more", HERE)
            return
        if seen["status"] == 124 and one.seen and isinstance(one.seen.domains, Known):
            yield not_known(one.about, "libvirt", f"it listed its VMs, and then {seen['error']}:"
                            " it is slow, or hangs", "hotsite doctor   # once more", HERE)
            return
        if seen["status"] == 127:
            what, mend = "virsh is not installed", "apt-get install libvirt-daemon-system"
        elif not seen["sockets"]:
            what = "neither libvirtd nor virtqemud has a socket there"
            mend = f"systemctl enable --now {(seen.get('daemons') or ['libvirtd'])[0]}.socket"
        else:
            what = f"{' and '.join(seen['sockets'])} does not answer: {seen['error']}"
            mend = f"systemctl restart {seen['sockets'][0]}"
        yield Finding(Level.STOPS, one.about, "libvirt", what, "its VMs are unknown", mend)
        return
    version = (one.seen.versions if one.seen else {}).get("libvirt", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST_LIBVIRT:
        yield Finding(Level.STOPS, one.about, "libvirt", f"libvirt is {version}",
                      "incremental copies need libvirt 7.2", "upgrade libvirt there", "")


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
    if not (declared or folders(facts)) and isinstance(facts.pools, Known) and not any(
            pool.unknown for pool in pools.values()):
        yield Finding(Level.HURTS, one.about, "pool", "it has no pool",
                      "no replica can lie there, and no VM be made",
                      f"virsh pool-define-as default dir --target {USUAL_POOL} && for step in build"
                      " start autostart; do virsh pool-$step default; done   # then `pools:"
                      f" [{{name: default, path: {USUAL_POOL}}}]` in its spec")
    for name, pool in sorted(pools.items()):
        if pool.path in declared and (pool.unknown or not pool.active):
            trouble = f"cannot be read: {pool.unknown}" if pool.unknown else "is not active"
            yield Finding(Level.HURTS, one.about, "pool", f"{name} {trouble}",
                          "no disk or replica in it can be used",
                          f"virsh pool-start {quoted(name)}; ls -ld {pool.path}")


def quoted(name: str) -> str:
    """Return a name as one word of a shell."""
    return name if re.fullmatch(r"[A-Za-z0-9_.@%+:/-]+", name) else (
        "'" + name.replace("'", "'\\''") + "'")


def check_programs(one: Checkup) -> Iterator[Finding]:
    """Yield packages without which copies are made by half."""
    seen = one.probe("programs")
    if "unknown" in seen:
        yield not_known(one.about, "programs", seen["unknown"])
        return
    for needed, packages, consequence in (
            (("qemu-img", "qemu-nbd"), QEMU_TOOLS, "replicas there are not verified, VMs that are"
             " off there are not copied, and no restore point is drilled"),
            (("ssh",), SSH_CLIENT, "copies from there go through the controller")):
        missing = [name for name in needed if name in seen["missing"]]
        if missing:
            tool = seen["installer"]
            yield Finding(Level.HURTS, one.about, "programs",
                          f"{' and '.join(missing)} {'are' if missing[1:] else 'is'} not installed",
                          consequence, *((f"{tool} install {packages[tool]}", None)
                                         if tool in packages else ("install them", "")))


def check_kvm(one: Checkup) -> Iterator[Finding]:
    """Yield a /dev/kvm that is no device: QEMU then starts no guest that wants KVM."""
    seen = one.probe("kvm")
    if "unknown" in seen:
        yield not_known(one.about, "kvm", seen["unknown"])
    elif seen["is"] == "file":
        yield Finding(Level.STOPS, one.about, "kvm", "/dev/kvm is an ordinary file",
                      "no guest that uses KVM starts there", f"rm /dev/kvm{_make_kvm(seen)}")
    elif seen["is"] == "absent" and seen.get("module"):
        yield Finding(Level.NOTE, one.about, "kvm", "there is no /dev/kvm",
                      "its guests are emulated, and slow", f"modprobe {seen['module']}")
    elif seen["is"] == "absent":
        yield Finding(Level.NOTE, one.about, "kvm", "its processor shows no virtualisation",
                      "its guests are emulated, and slow", "switch it on in the machine's firmware,"
                      " or, if the host is a VM itself, nested virtualisation where it runs", "")


def _make_kvm(seen: Probe) -> str:
    """Return what makes the device anew, once the file in its place is gone."""
    if seen.get("loaded"):
        return " && mknod -m 660 /dev/kvm c 10 232 && chgrp kvm /dev/kvm"
    return f" && modprobe {seen['module']}" if seen.get("module") else ""


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
                      *_set_clock(one))


def _set_clock(one: Checkup) -> tuple[str, str | None]:
    """Return the command that sets a host's clock right, and where it is typed."""
    service = one.probe("time service").get("service", "")
    if service == "systemd-timesyncd":
        return "timedatectl set-ntp true && systemctl restart systemd-timesyncd", None
    if service:
        return f"systemctl restart {service}", None
    sudo = "" if one.user == "root" else "sudo "
    return (f"{ssh(one)} {sudo}date -u -s @$(date +%s)   # and install chrony there: it keeps it",
            HERE)


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
                          " pause", f"du -axh {folder} | sort -h | tail   # the largest come last;"
                          " a shorter `keep` in its policy lets restore points go")
        elif seen["inodes"] and seen["free_inodes"] < LEAST_FREE * seen["inodes"]:
            yield Finding(Level.HURTS, one.about, "room", f"{folder} has few inodes left",
                          "no file can be made there soon",
                          f"du -x --inodes {folder} | sort -n | tail   # the fullest come last")


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
                      f"echo 'MaxSessions {SESSIONS}' >/etc/ssh/sshd_config.d/00-hotsite.conf &&"
                      " { systemctl reload ssh || systemctl reload sshd; }")


def ssh(one: Checkup) -> str:
    """Return the command that logs in to a host as we do."""
    port = "" if one.port == SSH_PORT else f"-p {one.port} "
    return f"ssh {port}{one.user}@{one.spec.address}"


def sudoers(one: Checkup) -> str:
    """Return the command that lets our account start what we send."""
    port = "" if one.port == SSH_PORT else f"-P {one.port} "
    return (f"hotsite sudoers --user {one.user} >hotsite.sudoers && scp {port}hotsite.sudoers"
            f" {one.user}@{one.spec.address}: && {ssh(one).replace('ssh ', 'ssh -t ', 1)} sudo"
            " install -m 0440 hotsite.sudoers /etc/sudoers.d/hotsite")

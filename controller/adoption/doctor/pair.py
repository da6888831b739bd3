"""The checks between two hosts, each direction for itself: the way, its packets, the keys."""

from collections.abc import Iterator
from typing import Final

from controller.adoption.doctor.checkup import Checkup
from controller.adoption.doctor.finding import Finding, Level, not_known

PORTS: Final = "49152:49215"
"""What libvirt uses for migrations unless its configuration says otherwise."""


def check_pair(here: Checkup, there: Checkup) -> Iterator[Finding]:
    """Yield what is wrong on the way from one host to another; nothing where nobody asked."""
    if not here.python:
        return
    about = f"{here.about} to {there.about}"
    yield from check_login(here, there, about)
    yield from check_way(here, there, about)
    yield from check_packets(here, there, about)


def check_login(here: Checkup, there: Checkup, about: str) -> Iterator[Finding]:
    """Yield a login by which libvirt could not migrate: root's key, and the host's key."""
    seen = here.probe(f"ssh {there.name}")
    if "unknown" in seen:
        yield not_known(about, "key exchange", seen["unknown"])
    elif seen["status"] != 0:
        error = seen["error"]
        consequence = "no live migration from the one to the other"
        address = there.spec.address
        if "Host key verification failed" in error or "host key" in error.lower():
            yield Finding(Level.HURTS, about, "key exchange", f"root on {here.name} does not know"
                          f" the host key of {there.name}", consequence, _known_line(there))
        elif "Permission denied" in error:
            yield Finding(Level.HURTS, about, "key exchange", f"{there.name} does not let root of"
                          f" {here.name} log in by key", consequence,
                          f"ssh-copy-id -p {there.port} root@{address}   # on {here.name}, as root,"
                          " after `ssh-keygen -t ed25519` if it has no key")
        elif seen["status"] == 124:
            yield not_known(about, "key exchange", f"ssh to {address} did not end in time")
        else:
            yield Finding(Level.HURTS, about, "key exchange", f"ssh from {here.name} to {address}"
                          f" fails: {error or 'without a word'}", consequence,
                          f"ssh -p {there.port} root@{address} true   # on {here.name}, as root")


def _known_line(there: Checkup) -> str:
    """Return the command that puts the key that we know of a host into root's known hosts."""
    address = there.spec.address if there.port == 22 else f"[{there.spec.address}]:{there.port}"
    if there.shown is None:
        return f"ssh-keyscan -p {there.port} {there.spec.address}   # compare, then put it there"
    return (f"echo '{address} {there.shown.kind} {there.shown.encoded}'"
            " >>/root/.ssh/known_hosts")


def check_way(here: Checkup, there: Checkup, about: str) -> Iterator[Finding]:
    """Yield a replication path or migration ports that something blocks."""
    for check, name, port, consequence in (
            ("replication path", "path", str(there.port), "no copy goes this way"),
            ("ports", "port", PORTS, "no live migration goes this way")):
        seen = here.probe(f"{name} {there.name}")
        if "unknown" in seen:
            yield not_known(about, check, seen["unknown"])
            continue
        result = seen["result"]
        if result == "open" or (result == "refused" and name == "port"):
            continue
        what = {"silent": "nothing answers", "refused": "nobody listens"}.get(
            result, f"the way is blocked ({result})")
        yield Finding(Level.STOPS if name == "path" else Level.HURTS, about, check,
                      f"{what} at {there.replication} port {port}", consequence,
                      f"ufw allow proto tcp from {here.replication} to {there.replication} port"
                      f" {port}   # on {there.name}, or as its firewall says it")


def check_packets(here: Checkup, there: Checkup, about: str) -> Iterator[Finding]:
    """Yield a way on which packets of full size are lost."""
    seen = here.probe(f"mtu {there.name}")
    if "unknown" in seen:
        yield not_known(about, "mtu", seen["unknown"])
    elif seen["passes"] == 0:
        yield not_known(about, "mtu", f"{there.replication} answers no ping",
                        f"ping -M do -c 1 {there.replication}   # on {here.name}")
    elif seen["passes"] < seen["mtu"]:
        yield Finding(Level.HURTS, about, "mtu", f"{seen['device']} of {here.name} sends packets of"
                      f" {seen['mtu']} bytes, and at most {seen['passes']} get through to"
                      f" {there.replication}", "copies and migrations begin and then hang",
                      f"ip link set dev {seen['device']} mtu {seen['passes']}   # on {here.name},"
                      " or raise it on the way")

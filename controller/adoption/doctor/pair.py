"""The checks between two hosts, each direction for itself: the way, its packets, the keys."""

from collections.abc import Iterator
from typing import Final

from controller.adoption.doctor.checkup import Checkup
from controller.adoption.doctor.finding import Finding, Level, not_known
from controller.adoption.doctor.host import SSH_PORT, known_as, quoted
from controller.adoption.reading import is_address

PORTS: Final = (49152, 49215)
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
        return
    error, consequence = seen["error"], "no live migration from the one to the other"
    port = "" if there.port == SSH_PORT else f"-p {there.port} "
    target = f"{port}{there.user}@{there.spec.address}"
    if seen["status"] == 0:
        return
    if seen["status"] == 1 and not error:
        yield Finding(Level.HURTS, about, "key exchange", f"{there.user}, as which root of"
                      f" {here.name} logs in on {there.name}, may not use libvirt there",
                      consequence, f"usermod -aG libvirt {there.user}", there.name)
    elif "Host key verification failed" in error or "host key" in error.lower():
        yield Finding(Level.HURTS, about, "key exchange", f"root on {here.name} does not know"
                      f" the host key of {there.name}", consequence, _known_line(there))
    elif "Permission denied" in error:
        yield Finding(Level.HURTS, about, "key exchange", f"{there.name} does not let root of"
                      f" {here.name} log in as {there.user} by key", consequence,
                      *_let_in(here, there))
    elif seen["status"] == 124:
        yield not_known(about, "key exchange", f"ssh to {there.spec.address} did not end in time")
    else:
        yield Finding(Level.HURTS, about, "key exchange", f"ssh from {here.name} to"
                      f" {there.spec.address} fails: {error or 'without a word'}", consequence,
                      f"ssh {target} true   # shows why")


def _known_line(there: Checkup) -> str:
    """Return the command that puts the key that we know of a host into root's known hosts."""
    if there.shown is None:
        return f"ssh-keyscan -p {there.port} {there.spec.address}   # compare, then put it there"
    return (f"mkdir -p -m 700 /root/.ssh && echo '{known_as(there)} {there.shown.kind}"
            f" {there.shown.encoded}' >>/root/.ssh/known_hosts")


def _let_in(here: Checkup, there: Checkup) -> tuple[str, str]:
    """Return the next command by which root of one host may log in on the other, and where."""
    key = here.probe("root's key").get("key", "")
    if not key:
        return ("ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519   # then hotsite doctor"
                " says what to do with it", here.name)
    home = "/root" if there.user == "root" else f"~{there.user}"
    return f"echo {quoted(key)} >>{home}/.ssh/authorized_keys", there.name


def check_way(here: Checkup, there: Checkup, about: str) -> Iterator[Finding]:
    """Yield a replication path or migration ports that something blocks."""
    for check, name, first, last, consequence in (
            ("replication path", "path", there.port, there.port, "no copy goes this way"),
            ("ports", "port", *PORTS, "no live migration goes this way")):
        seen = here.probe(f"{name} {there.name}")
        if "unknown" in seen:
            yield not_known(about, check, seen["unknown"])
            continue
        result = seen["result"]
        if result == "open" or (result == "refused" and name == "port"):
            continue
        what = {"silent": "nothing answers", "refused": "nobody listens"}.get(
            result, f"the way is blocked ({result})")
        ports = str(first) if first == last else f"{first}-{last}"
        yield Finding(Level.STOPS if name == "path" else Level.HURTS, about, check,
                      f"{what} at {there.replication} port {ports}", consequence,
                      *_let_through(there, here.replication, first, last))


def _let_through(there: Checkup, source: str, first: int, last: int) -> tuple[str, str]:
    """Return the command that opens ports in the firewall that a host has, and where."""
    seen = there.probe("firewall")
    tool, ports = seen.get("tool", ""), f"{first}-{last}" if first != last else str(first)
    if tool == "firewalld":
        return (f"firewall-cmd --permanent --add-port={ports}/tcp && firewall-cmd --reload",
                there.name)
    if tool == "ufw":
        known, own = (one if is_address(one) else "any" for one in (source, there.replication))
        return (f"ufw allow proto tcp from {known} to {own} port {ports.replace('-', ':')}",
                there.name)
    if seen.get("chains"):
        rule = f"ip{'6' * (':' in source)} saddr {source} " if is_address(source) else ""
        return (" && ".join(f"nft insert rule {chain} {rule}tcp dport {ports} accept"
                            for chain in seen["chains"])
                + "   # and in /etc/nftables.conf, for the next boot", there.name)
    return (f"let {source} reach TCP port {ports} of {there.replication} on every firewall between",
            "")


def check_packets(here: Checkup, there: Checkup, about: str) -> Iterator[Finding]:
    """Yield a way on which packets of full size are lost."""
    seen = here.probe(f"mtu {there.name}")
    if "unknown" in seen:
        yield not_known(about, "mtu", seen["unknown"])
    elif seen["passes"] == 0:
        yield not_known(about, "mtu", f"{there.replication} answers no ping",
                        f"ping -M do -c 1 {there.replication}", here.name)
    elif seen["passes"] < seen["mtu"]:
        yield Finding(Level.HURTS, about, "mtu", f"{seen['device']} of {here.name} sends packets of"
                      f" {seen['mtu']} bytes, and at most {seen['passes']} get through to"
                      f" {there.replication}", "copies and migrations begin and then hang",
                      f"ip link set dev {seen['device']} mtu {seen['passes']}   # or raise it on"
                      " the way")

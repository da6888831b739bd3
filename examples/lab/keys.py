"""Make and keep the lab's SSH keys: the controller's, each node's own, and the known hosts."""

import os
import secrets
from pathlib import Path

from layout import STATE, Node, Topology
from shell import run
from wires import planes_of

CONTROLLER = STATE / "id_ed25519"
GUARD = STATE / "guard.key"


def make_key(path: Path, comment: str) -> None:
    """Make a key pair unless there is one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (path.exists() and path.with_suffix(".pub").exists()):
        path.unlink(missing_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def make_guard_key() -> None:
    """Make the secret that grants are signed with unless it is there."""
    if not GUARD.exists():
        with os.fdopen(os.open(GUARD, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")


def host_key(node: Node) -> Path:
    """Return the key by which a node is known."""
    return node.keys / "ssh_host_ed25519_key"


def user_key(node: Node) -> Path:
    """Return the key by which a node's root logs in to other nodes."""
    return node.keys / "id_ed25519"


def make_keys_of(node: Node) -> None:
    """Make a node's two keys unless they are there."""
    make_key(host_key(node), node.name)
    make_key(user_key(node), f"root@{node.name}")


def public(path: Path) -> str:
    """Return the public half of a key as type and text, without its comment."""
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def render_known_hosts(topology: Topology, *, names: bool) -> str:
    """Return one line per address of each node; with names, those are known too."""
    lines = []
    for node in topology.nodes:
        known = [node.address(plane) for plane in planes_of(node)]
        lines += [f"{who} {public(host_key(node))}" for who in known]
        if names:
            lines.append(f"{node.name} {public(host_key(node))}")
    return "\n".join(lines) + "\n"


def render_authorized_keys(topology: Topology, *, trust_hosts: bool) -> str:
    """Return who may log in as root: the controller, and on hosts the other hosts."""
    trusted = [CONTROLLER, *(user_key(host) for host in topology.hosts if trust_hosts)]
    return "".join(f"{public(key)} {key.parent.name}\n" for key in trusted)


def write_controller_files(topology: Topology) -> None:
    """Write the strict host keys file that the controller uses."""
    (STATE / "known_hosts").write_text(render_known_hosts(topology, names=False))

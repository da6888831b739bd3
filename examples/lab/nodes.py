"""Prepare a node's private file systems, and switch it on and off."""

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import holder
import keys
from boot import OWN_IN_ETC
from layout import MARK, NODE_MARK, STATE, Node, Topology
from processes import first_process, kill_node, send
from shell import LabError, run, wait_for
from wires import node_ports, planes_of, set_link

BOOT = Path(__file__).with_name("boot.py")
NAMESPACE = uuid.UUID("5f0c5a3e-8c1b-4f43-9d0e-6a0f3c1f7b11")
POOL = """<pool type='dir'>
  <name>default</name>
  <uuid>{uuid}</uuid>
  <target><path>/var/lib/libvirt/images</path></target>
</pool>
"""
LIBVIRTD_CONF = """
host_uuid = "{uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
max_clients = 200
max_anonymous_clients = 100
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
"""
QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
"""
SSHD_CONFIG = """HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 200
MaxSessions 10
PrintMotd no
Subsystem sftp /usr/lib/openssh/sftp-server
"""
SSH_CONFIG = """Host *
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 10
"""


def uuid_of(node: Node, what: str = "") -> uuid.UUID:
    """Return a uuid that is the same in every life of the node."""
    return uuid.uuid5(NAMESPACE, f"{node.name}/{what}")


def prepare(node: Node, topology: Topology) -> None:
    """Make a node's folders and files; what an earlier life left is kept."""
    keys.make_keys_of(node)
    if not (node.folder / "prepared").exists():
        shutil.rmtree(node.folder, ignore_errors=True)
        for folder in ("root/.ssh", "tmp", "log", "libvirt/images"):
            (node.folder / folder).mkdir(parents=True, mode=0o700)
        (node.folder / "tmp").chmod(0o1777)
        make_etc(node.folder / "etc")
        if node.kind == "host":
            prepare_libvirt(node)
            make_disk(node, topology.pool_bytes)
            holder.place_disk(node)
        if node.kind == "witness":
            (node.folder / "hotsite").mkdir(mode=0o700)
        (node.folder / "prepared").touch()
    write_names_and_keys(node, topology)


def make_etc(etc: Path) -> None:
    """Make a node's own /etc, without the guests, keys and names of the machine below.

    Its files are copies. Its folders are the machine's, read-only, but for those that are its own.
    """
    etc.mkdir()
    with os.scandir("/etc") as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                (etc / entry.name).mkdir()
            elif not entry.name.startswith(".") and entry.name != "resolv.conf":
                shutil.copy2(entry.path, etc, follow_symlinks=False)
    for folder in OWN_IN_ETC:
        (etc / folder).mkdir(exist_ok=True)
    for part in ("libvirt.conf", "libvirtd.conf", "qemu.conf", "qemu-lockd.conf", "nwfilter"):
        if Path("/etc/libvirt", part).exists():
            run("cp", "-a", f"/etc/libvirt/{part}", str(etc / "libvirt"))
    for folder in ("qemu", "storage", "secrets"):
        (etc / "libvirt" / folder).mkdir()
    (etc / "resolv.conf").touch()
    switch = (etc / "nsswitch.conf").read_text().splitlines()
    kept = [line for line in switch if not line.startswith("hosts:")]
    (etc / "nsswitch.conf").write_text("\n".join([*kept, "hosts: files"]) + "\n")
    shadow = (etc / "shadow").read_text().splitlines()
    kept = [line for line in shadow if not line.startswith("root:")]
    # no password, yet not locked: sshd refuses keys to an account that is locked
    (etc / "shadow").write_text("\n".join(["root:*:19700:0:99999:7:::", *kept]) + "\n")


def prepare_libvirt(node: Node) -> None:
    """Give libvirt its own identity, no networks of its own, and the pool `default`."""
    libvirt = node.folder / "etc/libvirt"
    own = LIBVIRTD_CONF.format(uuid=uuid_of(node, "host"))
    with (libvirt / "libvirtd.conf").open("a") as conf:
        conf.write(own)
    with (libvirt / "qemu.conf").open("a") as conf:
        conf.write(QEMU_CONF)
    autostart = libvirt / "storage/autostart"
    autostart.mkdir()
    pool = POOL.format(uuid=uuid_of(node, "pool"))
    (libvirt / "storage/default.xml").write_text(pool)
    (autostart / "default.xml").symlink_to("/etc/libvirt/storage/default.xml")


def make_disk(node: Node, size_bytes: int) -> None:
    """Make the sparse file system that holds the host's pool, and nothing but it when it fills."""
    image = node.folder / "disk.ext4"
    with image.open("wb") as file:
        file.truncate(size_bytes)
    lazy = "lazy_itable_init=1,lazy_journal_init=1"
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=16", "-E", lazy, str(image))


def write_names_and_keys(node: Node, topology: Topology) -> None:
    """Write what depends on the other nodes: names, who may log in, whose keys are known."""
    etc, ssh = node.folder / "etc", node.folder / "root/.ssh"
    names = [f"{other.address('adm')} {other.name}" for other in topology.nodes]
    (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *names]) + "\n")
    (etc / "hostname").write_text(f"{node.name}\n")
    (etc / "machine-id").write_text(f"{uuid_of(node, 'machine').hex}\n")
    listen = "".join(f"ListenAddress {node.address(plane)}\n" for plane in planes_of(node))
    (etc / "ssh/sshd_config").write_text(listen + SSHD_CONFIG)
    (etc / "ssh/ssh_config").write_text(SSH_CONFIG)
    (etc / "ssh/ssh_known_hosts").write_text(keys.render_known_hosts(topology, names=True))
    for key, place in ((keys.host_key(node), etc / "ssh"), (keys.user_key(node), ssh)):
        shutil.copy(key, place)
        shutil.copy(key.with_suffix(".pub"), place)
    trusted = keys.render_authorized_keys(topology, trust_hosts=node.kind == "host")
    (ssh / "authorized_keys").write_text(trusted)


def boot_argument(node: Node, topology: Topology) -> str:
    """Return what a node's first process is told."""
    return json.dumps({
        "name": node.name,
        "kind": node.kind,
        "folder": str(node.folder),
        "ports": node_ports(node, topology),
        "address": node.address("adm"),
        "product_uuid": str(uuid_of(node, "machine")),
        "memory_bytes": topology.memory_bytes,
    })  # fmt: skip


def power_on(node: Node, topology: Topology) -> None:
    """Start a node unless it is on, and return when its daemons answer."""
    if first_process(node.name):
        return
    ready = node.folder / "ready"
    ready.unlink(missing_ok=True)
    if node.kind == "host":
        holder.mount_disk(node)
        make_watchdog(node)
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    log = node.folder / "boot.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            holder.inside("ip", "netns", "exec", node.namespace, "unshare", "--mount", "--uts",
                          "--pid", "--fork", "--mount-proc", "--kill-child", python, str(BOOT),
                          boot_argument(node, topology)),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG": "C.UTF-8", "HOME": "/root", MARK: str(STATE), NODE_MARK: node.name,
            },
        )  # fmt: skip
    wait_for(f"{node.name} (see {log})", lambda: ready.exists() or process.poll() is not None, 240)
    if process.poll() is not None:
        raise LabError(f"{node.name} did not boot: {log.read_text().strip()[-400:]}")


def watchdog_of(node: Node) -> Path:
    """Return the FIFO that is a host's watchdog; see watchdogs.py."""
    return node.folder / "watchdog"


def make_watchdog(node: Node) -> None:
    """Make a host's watchdog unless it is there."""
    path = watchdog_of(node)
    if not path.is_fifo():
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)


def power_off(node: Node, topology: Topology) -> None:
    """Cut a node's power: every process ends at once and its links go down."""
    kill_node(node.name)
    for link in (*(f"{plane}0" for plane in planes_of(node)), *node_ports(node, topology)):
        set_link(node.namespace, link, "down")


def press_power_button(node: Node) -> None:
    """Ask a node to end in good order; it may take its time."""
    first = first_process(node.name)
    if first:
        send(first, signal.SIGTERM)


def inside(node: Node, *argv: str) -> list[str]:
    """Return the command that runs argv inside a node."""
    first = first_process(node.name)
    if not first:
        raise LabError(f"{node.name} is off; switch it on with: lab mend power {node.name}")
    return ["nsenter", "-t", str(first), "-m", "-u", "-n", "-p", "--wd=/", "--", *argv]


def on(node: Node, *argv: str) -> str:
    """Run one program inside a node and return its output."""
    return run(*inside(node, *argv))

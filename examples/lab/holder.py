"""Hold the hosts' disks in a mount namespace of the lab's own.

Whoever on this machine copies its mount namespace, as every container does, would else hold them
until it ends. This machine reaches them by a link, through the process that holds them.
"""

import os
import subprocess
from pathlib import Path

import processes
from layout import GIB, MARK, STATE, Node
from shell import LabError, run, wait_for

HOLDER_MARK = "HOTSITE_LAB_HOLDER"  # in the environment of the process that holds the disks
HELD = STATE / "held"  # a link to all files as that process sees them


def pid() -> int:
    """Return the process that holds the disks, or 0."""
    for one in processes.marked():
        if HOLDER_MARK in processes.environment(one) and space_of(one) != space_of(os.getpid()):
            return one
    return 0


def space_of(process: int) -> str:
    """Return the mount namespace of a process, empty when it has ended."""
    try:
        return os.readlink(f"/proc/{process}/ns/mnt")
    except OSError:
        return ""


def start() -> None:
    """Start the holder unless it is there; what is mounted on this machine later it sees, too."""
    if pid():
        return
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "slave", "sleep", "infinity"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env={**os.environ, MARK: str(STATE), HOLDER_MARK: "1"}, cwd="/",
    )  # fmt: skip
    wait_for("the holder of the hosts' disks", lambda: bool(pid()) or process.poll() is not None)
    part = HELD.with_suffix(".part")
    part.unlink(missing_ok=True)
    part.symlink_to(f"/proc/{pid()}/root")
    part.replace(HELD)


def inside(*argv: str) -> list[str]:
    """Return the command that runs argv where the disks are mounted."""
    holder = pid()
    if not holder:
        raise LabError("nobody holds the hosts' disks; bring the lab up again with: lab up")
    return ["nsenter", "-t", str(holder), "-m", "--", *argv]


def place_disk(node: Node) -> None:
    """Make the place where a host's disk is mounted, and the link by which this machine sees it."""
    disk, place = node.folder / "disk", node.folder / "mounted"
    place.mkdir(exist_ok=True)
    if not disk.is_symlink():
        disk.symlink_to(f"{HELD}{place}")


def mount_disk(node: Node) -> None:
    """Mount the host's disk where all of its lives find it; tmpfs where there are no loops."""
    place, disk = str(node.folder / "mounted"), node.folder / "disk"
    if not os.path.ismount(f"{HELD}{place}"):
        try:
            run(*inside("mount", "-o", "loop,noatime", str(node.folder / "disk.ext4"), place))
        except LabError:
            run(*inside("mount", "-t", "tmpfs", "-o", f"size={2 * GIB}", "tmpfs", place))
    for folder in ("images", "hotsite"):
        (disk / folder).mkdir(exist_ok=True)


def release_disks() -> None:
    """Return once every host's disk is let go; its holder and its host have ended before."""
    for place in mounted_here():
        run("umount", place)
    HELD.unlink(missing_ok=True)
    try:
        wait_for("the release of the hosts' disks", lambda: not loops())
    except LabError as error:
        raise LabError(f"{error}: {', '.join(others()) or 'nobody that can be seen'} still has"
                       " them mounted; end that first") from None


def mounted_here() -> list[str]:
    """Return the disks that a lab before this one had mounted for all of the machine to see."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return [place for place in (line.split()[1] for line in mounts)
            if place.startswith(f"{STATE}/nodes/")]


def others() -> list[str]:
    """Return one process of each other mount namespace that has a host's disk mounted."""
    found: dict[str, str] = {}
    for mounts in Path("/proc").glob("[0-9]*/mounts"):
        try:
            space, held = os.readlink(mounts.parent / "ns/mnt"), mounts.read_text()
            name = (mounts.parent / "comm").read_text().strip()
        except OSError:
            continue  # it has ended
        if f" {STATE}/nodes/" in held:
            found.setdefault(space, f"process {mounts.parent.name} ({name})")
    return sorted(found.values())


def loops() -> list[str]:
    """Return the loop devices that still hold a host's disk."""
    base = str(STATE / "nodes") + "/"
    held = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            text = backing.read_text().strip()
        except OSError:
            continue
        if text.startswith(base):
            held.append(backing.parts[3])
    return held

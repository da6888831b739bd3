"""Find the lab's own processes by their mark, and stop, pause or wake these and no others."""

import os
import signal
from pathlib import Path

from layout import MARK, NODE_MARK, STATE
from shell import wait_for


def environment(pid: int) -> dict[str, str]:
    """Return a process's environment, empty when it has ended."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {os.fsdecode(key): os.fsdecode(value) for key, _, value in pairs}


def all_pids() -> list[int]:
    """Return every process id of this machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def marked() -> dict[int, str]:
    """Return the processes that bear this lab's mark, with their node's name or nothing."""
    ours = str(STATE)
    found = {}
    for pid in all_pids():
        variables = environment(pid)
        if variables.get(MARK) == ours:
            found[pid] = variables.get(NODE_MARK, "")
    return found


def is_first_of_its_namespace(pid: int) -> bool:
    """Say whether a process is number 1 of a process namespace below ours."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(numbers) > 1 and numbers[-1] == "1"


def first_process(node: str) -> int:
    """Return the first process of a node, or 0 when the node is off."""
    return first_processes().get(node, 0)


def first_processes() -> dict[str, int]:
    """Return the first process of each node that is on."""
    return {n: p for p, n in marked().items() if n and is_first_of_its_namespace(p)}


def namespace_of(pid: int) -> str:
    """Return the process namespace of a process, empty when it has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def name_of(pid: int) -> str:
    """Return the program's name as the kernel knows it."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def command_of(pid: int) -> list[str]:
    """Return a process's arguments."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [os.fsdecode(word) for word in raw.split(b"\0")]


def processes_of(node: str) -> list[int]:
    """Return every process of a node, the first included, whatever became of its environment."""
    first = first_process(node)
    if not first:
        return []
    space = namespace_of(first)
    return [pid for pid in all_pids() if space and namespace_of(pid) == space]


def send(pid: int, number: int) -> None:
    """Signal a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def state_of(pid: int) -> str:
    """Return the kernel's letter for a process's state, empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def pause(pids: list[int]) -> None:
    """Stop processes until they are woken."""
    for pid in pids:
        send(pid, signal.SIGSTOP)


def wake(pids: list[int]) -> None:
    """Let stopped processes go on."""
    for pid in pids:
        send(pid, signal.SIGCONT)


def kill_node(node: str) -> None:
    """Kill a node's first process; the kernel ends all others of the node with it."""
    first = first_process(node)
    if first:
        space = namespace_of(first)
        send(first, signal.SIGKILL)
        wait_for(
            f"the end of {node}'s processes",
            lambda: not any(space and namespace_of(pid) == space for pid in all_pids()),
        )


def kill_all() -> None:
    """Kill every process of this lab but the one that asks, and what started it."""
    spared = {os.getpid(), *ancestors(os.getpid())}

    def rest() -> list[int]:
        alive = [pid for pid in marked() if pid not in spared]
        for pid in alive:
            send(pid, signal.SIGKILL)
        return [pid for pid in alive if state_of(pid) not in ("", "Z")]

    wait_for("the end of the lab's processes", lambda: not rest())


def ancestors(pid: int) -> list[int]:
    """Return the line of parents of a process."""
    line: list[int] = []
    while pid > 1:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            break
        pid = int(fields[1])
        line.append(pid)
    return line

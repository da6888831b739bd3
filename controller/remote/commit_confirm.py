"""
Change a port of a bridge so that the node undoes the change unless it is confirmed.

A wrong VLAN or trunk can cut the node off from the controller, so that nobody could undo it from
outside. Therefore the node itself undoes each change after `limit_s`, unless the controller sends
`confirm` over a new connection, which proves that the node can be reached after the change.

    apply: save marker ─► start guard ─► change port ─► "armed"
                              │
        marker gone (confirm) │ time is up
                ends ◄────────┴────────► restore the port, marker becomes .undone

The marker holds what the port was before; there is one file per port. The order above is fixed:
marker first, because the guard ends where there is none; guard before the change, because after
the change the connection, and with it this process, may be gone. The guard runs in a session of
its own and ignores the signals that end a connection's processes.

Who may write: whoever holds the port's lock. The guard restores only while the marker still has its
own token; `confirm` renames the marker to `.confirmed`. So one of the two wins, and asking again
gives the same answer.

What ends it: confirm, or the time. If the switch does not take the restoring, the guard tries again
every second, for ever. While a marker waits, another change of the port is "busy".

What a crash leaves: killed before the guard runs, a marker and an unchanged port; if the guard was
killed, a marker and the changed port. In both cases the next `apply` finds a marker whose time has
been over for 5 s, and restores the port first. A reboot clears /run and with it the marker: the
port stays as it is then, and the controller sees it as drift or as done.

    commit_confirm.py apply   {"token", "bridge", "port", "limit_s", "columns": {column: value},
                               "before": {column: value} | null, "driver"}
    commit_confirm.py confirm {"token", "port"}

The columns are those of Open vSwitch (`tag`, `trunks`, `vlan_mode`), or, with the driver
`linuxbridge`, `vlans` alone: `1pu 200-203 300`, where p is the PVID and u leaves without a tag.
Such a port gets what is new before it loses what is old, and is never plugged in or taken out.

`before` is what the controller saw the port to be, null if it was in no bridge; a port that differs
by now is refused. The answer is one line of JSON: {"state": "armed" | "same" | "busy" | "confirmed"
| "undone" | "never" | "refused" | "unsure", "undone_at": "HH:MM:SS", "sentence"}. "busy" has the
"token" of the waiting change, so that the successor of a controller that died can confirm it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

FOLDER = os.environ.get("HOTSITE_RUN", "/run/hotsite")
COLUMNS = ("tag", "trunks", "vlan_mode")


class Refusal(Exception):
    """Nothing was changed; the text is the reason."""


class Unsure(Exception):
    """Something may have been changed: the reason, and when the guard undoes it."""


def run(*argv: str, text: str = "") -> str:
    """Return what a program prints."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, input=text,
                              env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise Refusal("%s cannot be run: %s" % (argv[0], error.strerror)) from None
    if done.returncode == -signal.SIGALRM:
        raise Refusal("the switch did not take it up within 10 s")
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Refusal(lines[-1] if lines else "%s gave no reason" % argv[0])
    return done.stdout


class OpenVswitch:
    """Ports of Open vSwitch."""

    def ovs(self, *words: str) -> str:
        """Return what ovs-vsctl prints."""
        return run("ovs-vsctl", "--timeout=10", *words)

    def bridge_of(self, port: str) -> str | None:
        """Return the bridge that a port is in, None when there is no such port."""
        try:
            return self.ovs("port-to-br", port).strip()
        except Refusal as refusal:
            if "no port named" in str(refusal):
                return None
            raise

    def read(self, port: str) -> dict[str, str]:
        """Return a port's VLAN columns as ovs-vsctl accepts them: `[]` for an empty one."""
        table = json.loads(self.ovs("--format=json", "--columns=" + ",".join(COLUMNS), "list",
                                    "Port", port))
        row = dict(zip(table["headings"], table["data"][0]))
        values = {}
        for column, cell in row.items():
            members = cell[1] if isinstance(cell, list) and cell[0] == "set" else [cell]
            values[column] = ",".join(str(member) for member in sorted(members)) or "[]"
        return values

    def write(self, bridge: str, port: str, columns: dict[str, str]) -> None:
        """Set a port's columns; plug it in if it is not. Refused if it could not be opened."""
        self.ovs("--may-exist", "add-port", bridge, port,
                 "--", "set", "Port", port, *settings(columns))
        wrong = self.ovs("get", "Interface", port, "error").strip()
        if wrong != "[]":
            raise Refusal(wrong.strip('"'))

    def restore(self, bridge: str, port: str, columns: dict[str, str] | None) -> None:
        """Put a port back as it was; None: it was not plugged in."""
        if columns is None:
            self.ovs("--if-exists", "del-port", bridge, port)
        else:
            self.ovs("--if-exists", "set", "Port", port, *settings(columns))


class LinuxBridge:
    """Ports of Linux bridges that look at tags."""

    def bridge_of(self, port: str) -> str | None:
        """Return the bridge that a device is plugged into, None if it is in none or gone."""
        try:
            rows = json.loads(run("ip", "-json", "link", "show", "dev", port) or "[]")
        except Refusal as refusal:
            if any(words in str(refusal) for words in ("does not exist", "Cannot find device")):
                return None
            raise
        return next((row.get("master") for row in rows if row.get("ifname") == port), None)

    def read(self, port: str) -> dict[str, str]:
        """Return the VLANs of a port in ranges, with the flags p and u."""
        found = json.loads(run("bridge", "-json", "vlan", "show", "dev", port) or "[]")
        rows = found.get(port, []) if isinstance(found, dict) else [
            vlan for row in found if row["ifname"] == port for vlan in row.get("vlans", [])]
        vlans = {}
        for row in rows:
            flags = "".join(letter for word, letter in (("PVID", "p"), ("Egress Untagged", "u"))
                            if word in row.get("flags", []))
            for vlan in range(row["vlan"], row.get("vlanEnd", row["vlan"]) + 1):
                vlans[vlan] = flags
        return {"vlans": render_vlans(vlans)}

    def write(self, bridge: str, port: str, columns: dict[str, str]) -> None:
        """Give a port the VLANs that are new, then take those that are old."""
        before, after = parse_vlans(self.read(port)["vlans"]), parse_vlans(columns["vlans"])
        new = {vlan: flags for vlan, flags in after.items() if before.get(vlan) != flags}
        old = dict.fromkeys(before.keys() - after.keys(), "")
        lines = ["vlan add dev %s vid %s%s%s" % (
            port, part.rstrip("pu"), " pvid" if "p" in part else "",
            " untagged" if "u" in part else "") for part in render_vlans(new).split()]
        lines += ["vlan del dev %s vid %s" % (port, part) for part in render_vlans(old).split()]
        if lines:
            run("bridge", "-batch", "-", text="".join(line + "\n" for line in lines))

    def restore(self, bridge: str, port: str, columns: dict[str, str] | None) -> None:
        """Put a port back as it was; one that is gone has lost its VLANs by itself."""
        if columns is not None and self.bridge_of(port) is not None:
            self.write(bridge, port, columns)


SWITCHES = {"openvswitch": OpenVswitch(), "linuxbridge": LinuxBridge()}


def parse_vlans(text: str) -> dict[int, str]:
    """Return the flags of each VLAN."""
    found = {}
    for part in text.split():
        first, _, last = part.rstrip("pu").partition("-")
        for vlan in range(int(first), int(last or first) + 1):
            found[vlan] = part[len(part.rstrip("pu")):]
    return found


def render_vlans(vlans: dict[int, str]) -> str:
    """Return VLANs with their flags in ranges: `1pu 200-203 300`; a PVID stands alone."""
    parts, waiting = [], sorted(vlans)
    while waiting:
        first = last = waiting.pop(0)
        while (waiting and waiting[0] == last + 1 and vlans[last + 1] == vlans[first]
               and "p" not in vlans[first]):
            last = waiting.pop(0)
        parts.append("%d%s%s" % (first, "" if first == last else "-%d" % last, vlans[first]))
    return " ".join(parts)


def settings(columns: dict[str, str]) -> list[str]:
    """Return the arguments that set columns."""
    return ["%s=%s" % pair for pair in sorted(columns.items())]


def switch_of(named: dict[str, Any]) -> OpenVswitch | LinuxBridge:
    """Return what a question or a marker is about; earlier ones are about Open vSwitch."""
    return SWITCHES[named.get("driver", "openvswitch")]


def marker_of(port: str) -> str:
    """Return the path of a port's marker."""
    return os.path.join(FOLDER, "unconfirmed-%s.json" % port.replace("/", "_"))


def lock(port: str) -> int:
    """Hold the port's lock until the returned descriptor is closed or this process ends."""
    os.makedirs(FOLDER, mode=0o700, exist_ok=True)
    descriptor = os.open(marker_of(port) + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def load_marker(port: str) -> dict[str, Any] | None:
    """Return a port's marker, None when nothing waits to be confirmed."""
    try:
        with open(marker_of(port)) as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def save_marker(marker: dict[str, Any]) -> None:
    """Write a marker whole or not at all."""
    path = marker_of(marker["port"])
    with open(path + ".part", "w") as file:
        json.dump(marker, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".part", path)


def restore(marker: dict[str, Any]) -> None:
    """Put a port back as the marker says."""
    port = marker["port"]
    switch_of(marker).restore(marker["bridge"], port, marker["columns"])
    os.replace(marker_of(port), marker_of(port) + ".undone")


def guard(marker: dict[str, Any], ready: int) -> None:
    """Wait until the marker is gone, or undo the change when the time is up."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    deadline = time.monotonic() + marker["limit_s"]
    os.write(ready, b"1")
    os.close(ready)
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if not os.path.exists(marker_of(marker["port"])):
            return
    while True:
        held = lock(marker["port"])
        found = load_marker(marker["port"])
        if found is None or found["token"] != marker["token"]:
            return
        try:
            restore(marker)
            return
        except Refusal:
            os.close(held)
            time.sleep(1)


def start_guard(marker: dict[str, Any]) -> None:
    """Start the guard in a session of its own; return once it waits."""
    reading, ready = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(nothing, descriptor)
            keep = os.dup2(ready, 3) if ready != 3 else 3
            os.closerange(4, 256)
            os.chdir("/")
            try:
                guard(marker, keep)
            finally:
                os._exit(0)
        os._exit(0)
    os.close(ready)
    os.waitpid(child, 0)
    started = os.read(reading, 1) == b"1"
    os.close(reading)
    if not started:
        raise Refusal("the guard that would undo the change did not start")


def undo_at_once(marker: dict[str, Any], why: str) -> None:
    """Undo a change that failed halfway; where that fails, too, the guard keeps trying."""
    try:
        restore(marker)
    except Refusal:
        raise Unsure(why, marker["undone_at"]) from None


def apply(question: dict[str, Any]) -> dict[str, str]:
    """Change a port and leave a guard that undoes it."""
    port, bridge, switch = question["port"], question["bridge"], switch_of(question)
    lock(port)
    found = load_marker(port)
    if found is not None and time.monotonic() < found["until_s"] + 5:
        return {"state": "busy", "undone_at": found["undone_at"], "token": found["token"]}
    if found is not None:
        restore(found)  # its guard was killed: restore in its place
    owner = switch.bridge_of(port)
    if owner not in (None, bridge):
        raise Refusal("%s is in bridge %s" % (port, owner))
    before = None if owner is None else switch.read(port)
    if before is not None and before == {**before, **question["columns"]}:
        return {"state": "same", "undone_at": ""}
    if before != question["before"]:
        is_now = "in no bridge" if before is None else " ".join(settings(before))
        raise Refusal("%s has changed since it was looked at (it is %s now)" % (port, is_now))
    undone = time.time() + question["limit_s"]
    marker = {
        "token": question["token"], "bridge": bridge, "port": port, "columns": before,
        "driver": question.get("driver", "openvswitch"),
        "limit_s": question["limit_s"], "until_s": time.monotonic() + question["limit_s"],
        "undone_at": time.strftime("%H:%M:%S", time.localtime(undone)),
    }
    save_marker(marker)
    try:
        start_guard(marker)
        switch.write(bridge, port, question["columns"])
    except Refusal as refusal:
        undo_at_once(marker, str(refusal))
        raise
    return {"state": "armed", "undone_at": marker["undone_at"]}


def confirm(question: dict[str, Any]) -> dict[str, str]:
    """Rename the marker, so that its guard ends; confirming twice gives the same answer."""
    port, token = question["port"], question["token"]
    lock(port)
    found = load_marker(port)
    if found is not None and found["token"] == token:
        os.replace(marker_of(port), marker_of(port) + ".confirmed")
        return {"state": "confirmed", "undone_at": ""}
    for ending in ("confirmed", "undone"):
        try:
            with open(marker_of(port) + "." + ending) as file:
                ended = json.load(file)
        except FileNotFoundError:
            continue
        if ended["token"] == token:
            return {"state": ending, "undone_at": ended["undone_at"]}
    return {"state": "never", "undone_at": ""}


def main() -> None:
    """Answer one question."""
    verb, question = sys.argv[1], json.loads(sys.argv[2])
    try:
        answer = {"apply": apply, "confirm": confirm}[verb](question)
    except Refusal as refusal:
        answer = {"state": "refused", "undone_at": "", "sentence": str(refusal)}
    except Unsure as unsure:
        answer = {"state": "unsure", "undone_at": unsure.args[1], "sentence": unsure.args[0]}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()

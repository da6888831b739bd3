"""keepalived on this machine: its program, its configuration, its word, and whom it has beside it.

    {"version": "2.2.7" | "", "running": bool, "config": text | null, "forwarding": bool | null,
     "states": {instance: state}, "states_unknown": sentence,
     "heard": [[port, vrid, source], …]}

Its word is had by a signal upon which it writes a file. A process that does not know the signal
would end by it, so it is sent only where the process is seen to wait for it.

Whom it has beside it is heard by ourselves, on the ports that are there for gateways: keepalived
does not tell who took an address from it.
"""

import json
import os
import re
import shutil
import socket
import stat
import struct
import time

from programs import NoAnswer, output_of, run_all, stderr_lines

KEEPALIVED = "keepalived"
CONFIG = "/etc/keepalived/keepalived.conf"
WORDS = ("/tmp/keepalived.json",    # noqa: S108  keepalived's own choice, until 2.3
         "/run/keepalived/keepalived.json", "/run/keepalived.json")
STATES = ("init", "backup", "master", "fault")
PORT = re.compile(r"gw[0-9]{1,4}")
VRRP, GROUP, ADVERTISEMENT = 112, "224.0.0.18", 1
BINDTODEVICE = 25       # SO_BINDTODEVICE, which has a name in Python since 3.10 alone
LIMIT_BYTES = 1 << 18
KEPT_S = 60.0
PACKETS = 2000
SPEAKERS = 64       # on one port; a guest there may speak under any number of addresses
WORD_S = 1.0


class Ear:
    """Hears what others say by VRRP on one port; gone with the port that it was opened on."""

    def __init__(self, port: str) -> None:
        self.index = socket.if_nametoindex(port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, VRRP)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, BINDTODEVICE, port.encode() + b"\0")
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack(
                "4s4si", socket.inet_aton(GROUP), bytes(4), self.index))
        except OSError:
            self.socket.close()
            raise

    def drain(self) -> set:
        """Return (vrid, source) of all who have spoken since the last time."""
        found = set()
        for _ in range(PACKETS):
            try:
                packet = self.socket.recv(2048)
            except OSError:     # nothing more, or the port is gone
                break
            said = packet[(packet[0] & 15) * 4:]
            if len(said) >= 8 and said[0] & 15 == ADVERTISEMENT:
                found.add((said[1], socket.inet_ntoa(packet[12:16])))
        return found


class Gateways:
    """The section `gateways`; remembers what was heard, and the version of the program."""

    def __init__(self) -> None:
        self.ears, self.heard, self.asked, self.process = {}, {}, (), 0

    def text(self) -> str:
        """Return the section; NoAnswer where not even the program can be looked at."""
        path = shutil.which(KEEPALIVED)
        self.listen()
        found = {"version": "" if path is None else self.version(path), "config": config_of(),
                 "forwarding": forwarding(), "states": {}, "states_unknown": "",
                 "heard": sorted(self.heard)}
        self.process = found_process(self.process)
        found["running"] = self.process > 0
        if self.process:
            try:
                found["states"] = states_of(self.process)
            except NoAnswer as reason:
                found["states_unknown"] = str(reason)
        return json.dumps(found, sort_keys=True)

    def version(self, path: str) -> str:
        """Return the version of the program, asked anew when its file has changed."""
        mark = (path, os.stat(path).st_mtime_ns)
        if self.asked[:1] != (mark,):
            output = run_all({"": (path, "--version")})[""]
            output_of(output, "`keepalived --version`")
            words = re.search(r"v([0-9]+(?:\.[0-9]+)*)", " ".join(stderr_lines(output)))
            if words is None:
                raise NoAnswer("`keepalived --version` does not say its version")
            self.asked = (mark, words[1])
        return self.asked[1]

    def listen(self) -> None:
        """Open an ear on each port for gateways, and note who was heard."""
        now = time.monotonic()
        self.heard = {one: at for one, at in self.heard.items() if now - at < KEPT_S}
        ports = {name: index for index, name in socket.if_nameindex() if PORT.fullmatch(name)}
        for port in [one for one, ear in self.ears.items() if ports.get(one) != ear.index]:
            self.ears.pop(port).socket.close()
        for port in sorted(ports):
            try:
                ear = self.ears.get(port) or self.ears.setdefault(port, Ear(port))
            except OSError:     # it has just gone, or we may not listen: then nobody was heard
                continue
            for vrid, source in sorted(ear.drain()):
                others = sum(one[0] == port for one in self.heard)
                if others < SPEAKERS or (port, vrid, source) in self.heard:
                    self.heard[port, vrid, source] = now


def config_of(path: str = CONFIG) -> "str | None":
    """Return the text of keepalived's configuration; None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(LIMIT_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NoAnswer(f"{path} cannot be read: {error.strerror}") from None
    if len(text) > LIMIT_BYTES:
        raise NoAnswer(f"{path} is larger than {LIMIT_BYTES >> 10} KiB")
    return text


def forwarding(path: str = "/proc/sys/net/ipv4/ip_forward") -> "bool | None":
    """Return whether this machine passes packets on between its networks."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() != "0"
    except OSError:
        return None


def found_process(last: int) -> int:
    """Return the id of the keepalived that runs on this machine's network, 0 if none does."""
    if last and is_parent(last):
        return last
    return next((int(name) for name in os.listdir("/proc") if name.isdigit()
                 and is_parent(int(name))), 0)


def is_parent(process: int) -> bool:
    """Return whether a process is the first of keepalived's, is alive, and in our network."""
    row = words_of(process)
    if row is None or words_of(int(row[1])) is not None:
        return False
    try:
        return os.readlink(f"/proc/{process}/ns/net") == os.readlink("/proc/self/ns/net")
    except OSError:
        return False


def words_of(process: int) -> "list | None":
    """Return state, parent, … of a process of keepalived's that has not ended; None of another."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as file:
            name, _, rest = file.read().partition("(")[2].rpartition(")")
    except OSError:
        return None
    words = rest.split()
    return words if name == KEEPALIVED and words and words[0] not in "ZX" else None


def states_of(process: int) -> dict:
    """Return by instance what keepalived says that it is."""
    output = run_all({"": (KEEPALIVED, "--signum=JSON")})[""]
    if output.failure or output.status != 0 or not output.out.strip().isdigit():
        raise NoAnswer("this keepalived was built without JSON, so it does not tell its states")
    number = int(output.out)
    if not waits_for(process, number):
        raise NoAnswer("the keepalived that runs does not wait to be asked for its states")
    before = {path: written(path) for path in WORDS}
    try:
        os.kill(process, number)
    except OSError as error:
        raise NoAnswer(f"keepalived cannot be asked for its states: {error.strerror}") from None
    until = time.monotonic() + WORD_S
    while time.monotonic() < until:
        for path in WORDS:
            found = None if written(path) == before[path] else word_in(path)
            if found is not None:
                return found
        time.sleep(0.02)
    raise NoAnswer(f"keepalived did not tell its states within {WORD_S:g} s")


def waits_for(process: int, number: int) -> bool:
    """Return whether a process catches or blocks a signal, and does not end by it."""
    try:
        with open(f"/proc/{process}/status", encoding="utf-8", errors="replace") as file:
            masks = re.findall(r"^Sig(?:Blk|Cgt):\s*([0-9a-f]+)$", file.read(), re.MULTILINE)
    except OSError:
        return False
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def written(path: str) -> int:
    """Return when a file was written last, 0 where there is none that is root's own."""
    try:
        row = os.lstat(path)
    except OSError:
        return 0
    return row.st_mtime_ns if stat.S_ISREG(row.st_mode) and row.st_uid == 0 else 0


def word_in(path: str) -> "dict | None":
    """Return the states in a file that keepalived wrote; None while it is not whole."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with open(handle, encoding="utf-8", errors="replace") as file:
            found = json.load(file)
        rows = found["vrrp"] if isinstance(found, dict) else found
        return {str(row["data"]["iname"]): STATES[row["data"]["state"]]
                if 0 <= row["data"]["state"] < len(STATES) else "unknown" for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return None

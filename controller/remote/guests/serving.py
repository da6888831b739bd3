"""Ask guests whether they serve: their agent, a TCP port, a ping, and what libvirt counts.

Each way of asking runs in a thread of its own and has a second; one that hangs is not asked a
second time meanwhile. Agents that answered before are asked by one virsh; each other one alone,
since libvirt waits 5 s for an agent that holds its channel open and says nothing.

What an address answers proves something only if it is the guest's: where this machine's neighbour
table knows the address, its card must be the declared one. Nothing is changed, in no guest.
"""

import errno
import json
import os
import re
import secrets
import socket
import struct
import subprocess
import time
from typing import Any

from probes import Probes
from programs import VIRSH, NoAnswer

ASK_S = 1.0             # for a connection or a ping
AGENT_S = 8.0           # for one virsh: libvirt gives an agent 5 s
ALONE = 16              # agents that are asked for one by one at once
MOST = 256              # guests that are asked at once
PIDS = "/run/libvirt/qemu"
ARP = "/proc/net/arp"
PING = json.dumps({"execute": "guest-ping"})
NOT_THERE = "agent is not connected"
REACHED = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EHOSTDOWN)


class Serving:
    """Asks the guests that it is told of; what it remembers makes the next look cheap."""

    def __init__(self) -> None:
        self.probes, self.quick = Probes(ASK_S + 0.2, "it hangs"), set()
        self.began: dict = {}       # name of a domain -> its process, and when that began

    def text(self, asked: list) -> str:
        """Return the rows by UUID, as text."""
        asked = asked[:MOST]
        found = self.probes.run({**network_probes(asked), **self.agent_probes(asked),
                                 **counter_probes(asked)}) if asked else {}
        agents = {}
        for place, told in found.items():
            if place[0] == "agents":
                agents |= told_of(place, told)
        self.quick = {uuid for uuid, (word, _) in agents.items() if word == "answers"}
        reads = found.get(("reads", "libvirt"))
        self.began = {one["name"]: began_at(one["name"], self.began.get(one["name"]))
                      for one in asked if one.get("name")}
        rows = {one["uuid"]: row_of(one, found, agents, reads) for one in asked}
        for one in asked:
            process = self.began.get(one.get("name", ""))
            if process:
                rows[one["uuid"]]["began_at"] = process[1]
        return json.dumps(rows, sort_keys=True)

    def agent_probes(self, asked: list) -> dict:
        """Return the probes of agents: those that answered before together, others alone."""
        wanted = [one["uuid"] for one in asked if one.get("agent")]
        together = tuple(uuid for uuid in wanted if uuid in self.quick)
        alone = [(uuid,) for uuid in wanted if uuid not in self.quick][:ALONE]
        return {("agents", *some): lambda some=some: ask_agents(some)
                for some in (together, *alone) if some}


def network_probes(asked: list) -> dict:
    """Return the probes of addresses."""
    found: dict = {}
    for one in asked:
        address, mac = one.get("address", ""), one.get("mac", "")
        if address and one.get("tcp"):
            found["tcp", one["uuid"]] = lambda address=address, port=one["tcp"], mac=mac: (
                checked(connect(address, port), address, mac))
        if address and one.get("ping"):
            found["ping", one["uuid"]] = lambda address=address, mac=mac: (
                checked(ping(address), address, mac))
    return found


def counter_probes(asked: list) -> dict:
    """Return the probe of what libvirt counts of guests that run here."""
    named = {one["uuid"]: one["name"] for one in asked if one.get("reads") and one.get("name")}
    return {("reads", "libvirt"): lambda: reads_of(named)} if named else {}


def row_of(one: dict, found: dict, agents: dict, reads: Any) -> dict:
    """Return what is known of one guest; what was not asked is left out."""
    row: dict = {}
    for way in ("tcp", "ping"):
        told = found.get((way, one["uuid"]))
        if told is not None:
            row[way] = answer(*(("silent", str(told)) if isinstance(told, NoAnswer) else told))
    if one.get("agent"):
        row["agent"] = answer(*agents.get(one["uuid"], ("silent", "it was not its turn")))
    if isinstance(reads, dict) and one["uuid"] in reads:
        row["reads"] = reads[one["uuid"]]
    return row


def answer(word: str, sentence: str) -> dict:
    """Return one answer as it is sent."""
    return {"word": word, "sentence": sentence}


def told_of(place: tuple, told: Any) -> dict:
    """Return by UUID what one virsh was told; one that hangs has asked a silent agent."""
    if isinstance(told, NoAnswer):
        return dict.fromkeys(place[1:], ("silent", "it does not answer"))
    return dict(told)


def ask_agents(uuids: tuple) -> dict:
    """Return by UUID what each agent answered to a ping, as far as virsh came in time."""
    mark = f"@@{secrets.token_hex(8)}@@"
    asked = f"; echo {mark}; ".join(f"qemu-agent-command {uuid} '{PING}'" for uuid in uuids)
    out, err = virsh(asked)
    why = "no agent has opened its channel" if NOT_THERE in err else (
        "it does not answer" if "agent" in err or not err
        else err.strip().split("\n")[0][:200])
    parts = out.split(mark)
    return {uuid: ("answers", "") if at < len(parts) and '"return"' in parts[at]
            else ("silent", why) for at, uuid in enumerate(uuids)}


def connect(address: str, port: int) -> tuple:
    """Return what a TCP connection to a port came to; it is closed at once."""
    try:
        with socket.create_connection((address, port), ASK_S):
            return "answers", ""
    except ConnectionRefusedError:
        return "denies", "the connection is refused"
    except socket.timeout:
        return "silent", f"no answer within {ASK_S:g} s"
    except OSError as error:
        word = "silent" if error.errno in REACHED else "untried"
        return word, (error.strerror or str(error)).lower()


def ping(address: str) -> tuple:
    """Return what one ICMP echo request came to."""
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    try:
        asking = opened(family, protocol)
    except PermissionError:
        return "untried", "this account may send no pings"
    payload = secrets.token_bytes(16)
    with asking:
        until = time.monotonic() + ASK_S
        try:
            asking.connect((address, 0))
            asking.send(request(128 if six else 8, payload))
            while time.monotonic() < until:
                asking.settimeout(max(0.01, until - time.monotonic()))
                if is_reply(asking.recv(2048), payload, six):
                    return "answers", ""
        except socket.timeout:
            pass
        except OSError as error:
            word = "silent" if error.errno in REACHED else "untried"
            return word, (error.strerror or str(error)).lower()
    return "silent", f"no answer within {ASK_S:g} s"


def opened(family: int, protocol: int) -> socket.socket:
    """Return a socket for pings: one that needs no rights where that is allowed."""
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        return socket.socket(family, socket.SOCK_RAW, protocol)


def request(kind: int, payload: bytes) -> bytes:
    """Return an echo request with its checksum, RFC 1071; the kernel sets that of ICMPv6."""
    head = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xffff, 1)
    total = sum(struct.unpack(f"!{len(head + payload) // 2}H", head + payload))
    total = (total >> 16) + (total & 0xffff)
    total = ~(total + (total >> 16)) & 0xffff
    return head[:2] + struct.pack("!H", total) + head[4:] + payload


def is_reply(packet: bytes, payload: bytes, six: bool) -> bool:
    """Return whether a packet is the echo of ours; a raw socket also shows the IPv4 header."""
    if not six and packet[:1] and packet[0] >> 4 == 4 and len(packet) > 8 + len(payload):
        packet = packet[(packet[0] & 15) * 4:]
    return packet[:1] == bytes((129 if six else 0,)) and packet[8:] == payload


def checked(told: tuple, address: str, mac: str) -> tuple:
    """Return an answer, unless another card than the declared one gave it."""
    card = card_of(address)
    if told[0] in ("answers", "denies") and card and mac and card != mac.lower():
        return "denies", f"{address} is in use by another card, {card}"
    if told[0] == "answers":
        return "answers", "" if card or ":" in address else "through a router"
    return told


def card_of(address: str) -> str:
    """Return the card that has an IPv4 address, by the neighbour table; empty if it is not in it.
    """
    try:
        with open(ARP, encoding="ascii") as file:
            for line in file:
                fields = line.split()
                if fields[0] == address and len(fields) > 3 and int(fields[2], 16) & 2:
                    return fields[3].lower()
    except (OSError, ValueError):
        return ""
    return ""


def reads_of(named: dict) -> dict:
    """Return by UUID whether a guest has read of its disks since its process began."""
    out, _ = virsh("domstats", "--nowait", "--block", *named.values())
    found = {}
    for part in out.split("Domain: '")[1:]:
        name, _, counts = part.partition("'\n")
        reads = [int(count) for count in re.findall(r"\bblock\.[0-9]+\.rd\.reqs=([0-9]+)", counts)]
        found.update({uuid: any(reads) for uuid, own in named.items() if own == name and reads})
    return found


def virsh(*words: str) -> tuple:
    """Return what virsh wrote to stdout and stderr, as far as it came in time."""
    try:
        done = subprocess.run((*VIRSH, *words), check=False, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=AGENT_S,
                              env={**os.environ, "LC_ALL": "C"})
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace"), ""
    return done.stdout, done.stderr


def began_at(name: str, before: "tuple | None") -> "tuple | None":
    """Return the process of a domain, and when it began by this machine's clock.

    That is computed once for each process, so that it stays the same while clocks are adjusted.
    """
    try:
        with open(f"{PIDS}/{name}.pid", encoding="ascii") as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        if before is not None and before[0] == (pid, ticks):
            return before
        with open("/proc/uptime", encoding="ascii") as file:
            ran_s = float(file.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    return (pid, ticks), round(time.time() - ran_s, 1)

"""
What a guest answers over a network: a TCP port, a ping; and which card it was that answered.

An answer counts only if this machine's neighbour table names the guest's own card for the address:
another guest may have taken the address, or this machine itself.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
import time
from typing import NamedTuple

ASK_S = 1.0                     # for one connection or one ping
PATIENCE_S = 5
ECHO, ECHO_SIX = 8, 128         # ICMP's types of a request
REPLY, REPLY_SIX = 0, 129


class Answer(NamedTuple):
    """What one question came to; `why` says what is lacking."""

    answered: bool
    why: str


def ask(address: str, port: int, mac: str, ask_s: float = ASK_S) -> Answer:
    """Ask a port of an address, or, where that is 0, send it a ping."""
    try:
        answered = ping(address, ask_s) if port == 0 else connect(address, port, ask_s)
    except ConnectionRefusedError:
        return Answer(False, "it refuses the connection")
    except socket.timeout:      # an OSError since Python 3.10
        return Answer(False, "no answer")
    except OSError as error:
        return Answer(False, (error.strerror or str(error)).lower())
    card = card_of(address)
    if answered and card != mac.lower():
        return Answer(False, "%s is in use by %s" % (address, "card " + card if card else
                                                     "no card of this network"))
    return Answer(answered, "" if answered else "no answer")


def connect(address: str, port: int, ask_s: float) -> bool:
    """Return whether a port accepts a connection, which is closed at once; OSError if not."""
    with socket.create_connection((address, port), ask_s):
        return True


def ping(address: str, ask_s: float) -> bool:
    """Return whether an address answers an echo request in time."""
    six = ":" in address
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (
        socket.AF_INET, socket.IPPROTO_ICMP)
    payload = secrets.token_bytes(16)
    with socket.socket(family, socket.SOCK_RAW, protocol) as asking:
        asking.connect((address, 0))
        asking.send(request(ECHO_SIX if six else ECHO, payload))
        until = time.monotonic() + ask_s
        while time.monotonic() < until:
            asking.settimeout(max(0.01, until - time.monotonic()))
            packet = asking.recv(2048)
            packet = packet if six else packet[(packet[0] & 15) * 4:]      # after IPv4's header
            if packet[:1] == bytes((REPLY_SIX if six else REPLY,)) and packet[8:] == payload:
                return True
    return False


def request(kind: int, payload: bytes) -> bytes:
    """Return an echo request with its checksum, RFC 1071; the kernel sets that of ICMPv6."""
    head = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xffff, 1)
    total = sum(struct.unpack("!%dH" % (len(head + payload) // 2), head + payload))
    total = (total >> 16) + (total & 0xffff)
    return head[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + head[4:] + payload


def card_of(address: str) -> str:
    """Return the card that has an address, by the neighbour table; empty if it names none."""
    done = subprocess.run(["ip", "neighbour", "show", "to", address], check=False,
                          stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                          errors="replace", timeout=PATIENCE_S)
    words = done.stdout.split()
    return words[words.index("lladdr") + 1].lower() if "lladdr" in words[:-1] else ""

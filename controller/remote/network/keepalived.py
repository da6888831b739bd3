"""Have keepalived of this machine go by another configuration; it is started if it does not run.

Told on standard input: {"config": text or null, "addresses": text, "mark": how a file of ours
begins, "fresh": [{"network", "port", "vrid", "address", "own"}, …], "switches": [address, …]}.
Answered: {"did": "started" | "reloaded" | "stopped"}, or a sentence on standard error and
exit status 1.

The new file is tested under another name and put in place by a rename. keepalived reads it by
SIGHUP, upon which no address moves that stays where it is. What somebody else had written is kept
beside it. null: nothing is to be held any more, so it is stopped.

Before a gateway is held that was not (`fresh`), its port is listened to for some seconds, and it is
asked there who has the address: a router of somebody else's must not get a rival. Those who speak
VRRP from one of `switches` are ours, and so is whoever answers with a card of theirs.

A keepalived that goes by another file, or in a container by a file of its own, is somebody else's:
it is sent no signal, and while it runs alone ours is not started beside it.
"""

import json
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

CONFIG = "/etc/keepalived/keepalived.conf"
ADDRESSES = "/etc/keepalived/hotsite.ip"
KEPT = ".before-hotsite"
PIDS = ("/run/keepalived.pid", "/run/vrrp.pid", "/run/keepalived_vrrp.pid",
        "/run/keepalived/keepalived.pid", "/run/keepalived/vrrp.pid")
NAME, SERVICE = "keepalived", "keepalived.service"
LIMIT_S, BEGINS_S = 15.0, 5.0
LISTEN_S, ASK_S = 4.0, 1.0      # VRRPv2 says something each second; a question may be lost
EVERY_FRAME, IPV4, ARP, VRRP = 3, 0x0800, 0x0806, 112
OTHER_FILE = re.compile(r"(?:-[A-Za-z0-9]*f|--use-file=?)(.*)", re.DOTALL)
GROUP = bytes.fromhex("01005e000012")
PACKET, ADD_MEMBERSHIP, MULTICAST = 263, 1, 0       # SOL_PACKET, PACKET_…, of linux/if_packet.h


class Failed(Exception):
    """It was not done; the text is a sentence."""


def main() -> int:
    """Do what is told, and say what it was."""
    told = json.loads(sys.stdin.read())
    try:
        did = stop(told["mark"]) if told["config"] is None else change(told)
    except Failed as why:
        sys.stderr.write(f"{why}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename or NAME}: {error.strerror}\n")
        return 1
    print(json.dumps({"did": did}))
    return 0


def change(told: dict) -> str:
    """Put the files in place, and have keepalived read them."""
    if shutil.which(NAME) is None:
        raise Failed("keepalived is not installed there: install its package")
    os.makedirs(os.path.dirname(CONFIG), exist_ok=True)
    leave_others()
    write(ADDRESSES, told["addresses"])
    run("ip", "-force", "-batch", ADDRESSES)    # the test asks whether the ports are there
    find_rivals(told["fresh"], set(told["switches"]))
    fresh = CONFIG + ".new"
    write(fresh, told["config"], rename=False)
    try:
        run(NAME, "--config-test", f"--use-file={fresh}")
    except Failed:
        os.unlink(fresh)
        raise
    if foreign(told["mark"]):
        shutil.copy2(CONFIG, CONFIG + KEPT)
    os.replace(fresh, CONFIG)
    sync(os.path.dirname(CONFIG))
    process = first_process()
    if process:
        os.kill(process, signal.SIGHUP)
        return "reloaded"
    start()
    return "started"


def find_rivals(fresh: list, switches: set) -> None:
    """Fail if any of these gateways has a rival; all their ports are listened to at once."""
    with ThreadPoolExecutor(max(1, len(fresh))) as pool:
        for found in [pool.submit(find_rival, one, switches) for one in fresh]:
            found.result()


def find_rival(fresh: dict, switches: set) -> None:
    """Fail if somebody else speaks for a gateway's number, or answers for its address."""
    address = fresh["address"].partition("/")[0]
    speakers, answers = listen(fresh["port"], fresh["own"].partition("/")[0], address)
    for source, _, vrid in sorted(speakers):
        if vrid == fresh["vrid"] and source not in switches:
            raise Failed(f"{source} speaks VRRP with number {vrid} on the VLAN of"
                         f" {fresh['network']} and is no switch of it: choose another `vrid`, or"
                         " write `mode: observed` if that is the router")
    ours = {card for source, card, _ in speakers if source in switches}
    for card in sorted(answers - ours):
        raise Failed(f"{address} of {fresh['network']} is answered for by {card}, which is no"
                     " switch of it: take it off there, or write `mode: observed` if that is the"
                     " router")


def listen(port: str, own: str, address: str) -> tuple:
    """Return (source, card, number) of all who speak VRRP on a port, and the cards that answer for
    an address."""
    speakers, answers = set(), set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_FRAME)) as ear:
        ear.bind((port, EVERY_FRAME))
        ear.setsockopt(PACKET, ADD_MEMBERSHIP, struct.pack(
            "iHH8s", socket.if_nametoindex(port), MULTICAST, len(GROUP), GROUP))
        card = ear.getsockname()[4]
        began, asked = time.monotonic(), 0.0
        while (now := time.monotonic()) < began + LISTEN_S:
            if now >= asked + ASK_S:
                ear.send(question(card, own, address))
                asked = now
            if not select.select([ear], [], [], 0.1)[0]:
                continue
            frame, sender = ear.recvfrom(2048)
            if sender[2] != socket.PACKET_OUTGOING:
                note(frame, address, speakers, answers)
    return speakers, answers


def question(card: bytes, own: str, address: str) -> bytes:
    """Return the frame that asks all who has an address."""
    return (b"\xff" * 6 + card + struct.pack("!HHHBBH", ARP, 1, IPV4, 6, 4, 1) + card
            + socket.inet_aton(own) + bytes(6) + socket.inet_aton(address))


def note(frame: bytes, address: str, speakers: set, answers: set) -> None:
    """Note who speaks VRRP, or answers for the address, in one frame."""
    kind, packet = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind == IPV4 and len(packet) >= 28 and packet[9] == VRRP:
        said = packet[(packet[0] & 15) * 4:]
        if len(said) >= 8 and said[0] & 15 == 1:
            speakers.add((socket.inet_ntoa(packet[12:16]), frame[6:12].hex(":"), said[1]))
    elif kind == ARP and len(packet) >= 28 and packet[7] == 2 and (
            packet[14:18] == socket.inet_aton(address)):
        answers.add(packet[8:14].hex(":"))


def stop(mark: str) -> str:
    """Have keepalived hold nothing, now and at the next boot."""
    if foreign(mark):
        raise Failed(f"somebody has just written {CONFIG}: nothing is done until it is looked at"
                     " again")
    leave_others()
    if systemd():
        run("systemctl", "disable", "--now", SERVICE)
    process = first_process()
    if process:
        os.kill(process, signal.SIGTERM)
        wait_until(lambda: not first_process(), "keepalived did not end")
    for path in (CONFIG, ADDRESSES):
        if os.path.exists(path):
            os.unlink(path)
    return "stopped"


def start() -> None:
    """Start keepalived, for now and for the next boot where there is systemd."""
    for path in PIDS:       # it does not start while the process in such a file exists, even dead
        if os.path.exists(path):
            os.unlink(path)
    if systemd():
        run("systemctl", "enable", SERVICE)
        run("systemctl", "restart", SERVICE)
    else:
        run(NAME, "--vrrp", "--log-detail")
    wait_until(lambda: bool(first_process()), "keepalived does not stay running")


def systemd() -> bool:
    """Return whether systemd is the first process, and knows keepalived."""
    return os.path.isdir("/run/systemd/system") and any(
        os.path.exists(f"{folder}/{SERVICE}") for folder in (
            "/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"))


def foreign(mark: str) -> bool:
    """Return whether the configuration that is there has never been ours."""
    try:
        with open(CONFIG, encoding="utf-8", errors="replace") as file:
            return file.read(len(mark)) != mark
    except FileNotFoundError:
        return False


def write(path: str, text: str, rename: bool = True) -> None:
    """Write a file that root alone may change, durably; by a rename, or right there."""
    there = path + ".part" if rename else path
    with open(there, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if rename:
        os.replace(there, path)


def sync(folder: str) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def run(*argv: str) -> None:
    """Run a program, or fail with what it said."""
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"`{' '.join(argv)}` did not end within {LIMIT_S:g} s") from None
    if done.returncode != 0:
        said = [line for line in done.stdout.decode(errors="replace").split("\n") if line.strip()]
        raise Failed(f"`{' '.join(argv)}` failed: {'; '.join(said[-3:]) or done.returncode}")


def leave_others() -> None:
    """Fail if only a keepalived of somebody else's runs."""
    others = [] if first_process() else first_processes()
    if others:
        raise Failed(f"process {others[0]} is a keepalived that does not go by {CONFIG}: it is left"
                     " alone, and ours is not run beside it; end it first")


def first_process() -> int:
    """Return the id of the keepalived that goes by our file, 0 if none does."""
    return next(filter(goes_by_ours, first_processes()), 0)


def goes_by_ours(process: int) -> bool:
    """Return whether a keepalived was told of no other file than ours, and sees the same one."""
    folder = os.path.dirname(CONFIG)
    try:
        with open(f"/proc/{process}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().split("\0")
        if not os.path.samefile(f"/proc/{process}/root{folder}", folder):
            return False
    except OSError:     # it has just ended, or there is no such folder
        return False
    told = [found[1] or after for word, after in zip(words, [*words[1:], ""])
            if (found := OTHER_FILE.fullmatch(word))]
    return bool(words[0]) and all(os.path.normpath(one) == CONFIG for one in told)


def first_processes() -> list:
    """Return the ids of all keepalived that run on this machine's network, without their children.
    """
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                called, _, rest = file.read().partition("(")[2].rpartition(")")
            words = rest.split()
            if called == NAME and words[0] not in "ZX" and (
                    os.readlink(f"/proc/{name}/ns/net") == os.readlink("/proc/self/ns/net")):
                found[int(name)] = int(words[1])
        except (OSError, IndexError):
            continue        # it has just ended
    return [one for one in sorted(found) if found[one] not in found]


def wait_until(done: "object", failed: str) -> None:
    """Wait until something is so."""
    until = time.monotonic() + BEGINS_S
    while not done():
        if time.monotonic() > until:
            raise Failed(failed)
        time.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())

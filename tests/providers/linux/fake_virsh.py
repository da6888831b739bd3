"""A virsh that plays libvirt from a file: {"domains": […], "pools": […], "trouble": word}.

A domain or pool hangs where it `hangs`, and fails with the words of its `fails`. Only the commands
of the facts script, with the words and exits of virsh 9.0.0.
"""

import json
import os
import shlex
import sys
import time
import uuid
from pathlib import Path

HERE = Path(__file__).parent
STATE = HERE / "libvirt.json"
KNOWN: dict = {}
VERSION = "Running hypervisor: QEMU 7.2.22\nRunning against daemon: 9.0.0\n"
POOL = ("<pool type='{kind}'>\n  <name>{name}</name>\n"
        "  <target><path>{path}</path></target>\n</pool>\n")
JOB = "Job type:         {kind}\n"


def complain(text: str) -> None:
    """Say an error as virsh does."""
    sys.stderr.write(f"error: {text}\n")


def list_domains(words: list[str], domains: list[dict]) -> None:
    """Play `list`."""
    if "--all" not in words:
        domains = [d for d in domains if d["state"] != "shut off"]
    for flag in ("autostart", "persistent"):
        if f"--{flag}" in words:
            domains = [d for d in domains if d[flag]]
    for domain in domains:
        name = f" {domain['name']}" if "--name" in words else ""
        sys.stdout.write(f"{domain['uuid']}{name}\n")


def show(words: list[str], state: dict) -> None:
    """Play a command about one domain."""
    found = [d for d in state["domains"] if d["uuid"] in words]
    if words[0] == "dumpxml" and state["trouble"] == "vanish" and len(state["domains"]) > 1:
        STATE.write_text(json.dumps({**state, "domains": state["domains"][1:], "trouble": ""}))
        found = []
    if not found:
        complain(f"failed to get domain '{next(w for w in words[1:] if w[0] != '-')}'")
        return
    domain = found[0]
    trip(domain)
    if words[0] == "domstate":
        sys.stdout.write(f"{domain['state']} ({domain['reason']})\n\n")
    elif words[0] == "dumpxml":
        inactive = "--inactive" in words or domain["state"] == "shut off"
        sys.stdout.write((domain["config_xml"] or domain["live_xml"]) + "\n" if inactive
                         else domain["live_xml"] + "\n")
    elif words[0] == "checkpoint-list":
        sys.stdout.write("".join(f"{name}\n" for name in domain.get("checkpoints", [])))
    elif words[0] == "backup-dumpxml":
        show_backup(domain)
    else:
        show_job(domain, state)


def show_job(domain: dict, state: dict) -> None:
    """Play `domjobinfo`; a domain may end, as often as it `turns`, before its job is told."""
    if domain.get("turns"):
        domain.update(state="shut off", reason="shutdown", turns=domain["turns"] - 1)
        STATE.write_text(json.dumps(state))
    if domain["state"] == "shut off":
        complain("Requested operation is not valid: domain is not running")
    elif domain["job"] == "Incoming migration":
        complain("Operation not supported: migration statistics are available only on the"
                 " source host")
    elif domain["job"] is None:
        sys.stdout.write(JOB.format(kind="None"))
    else:
        sys.stdout.write(JOB.format(kind="Unbounded") + f"Operation:        {domain['job']}\n")


def trip(one: dict) -> None:
    """Hang, or complain and say no more, where that is played of a domain or pool."""
    if one.get("hangs"):
        sys.stdout.flush()
        time.sleep(60)
    if one.get("fails"):
        raise Failed(one["fails"])


class Failed(Exception):
    """A command that ends with an error; virsh goes on with the next."""


def pool_uuid(pool: dict) -> str:
    """Return a pool's uuid."""
    return pool.get("uuid") or str(uuid.uuid5(uuid.NAMESPACE_DNS, pool["name"]))


def show_backup(domain: dict) -> None:
    """Play `backup-dumpxml`."""
    if domain.get("backup_xml") is None:
        complain(domain.get("complaint", "Domain backup job id not found: no domain backup job"
                                         " present"))
        sys.exit(1)
    sys.stdout.write(domain["backup_xml"] + "\n")


def play(words: list[str], state: dict) -> None:
    """Play one command."""
    pools = [p for p in state["pools"] if "--all" in words or p["active"]]
    if words[0] == "echo":
        sys.stdout.write(words[1])
    elif words[0] == "version":
        sys.stdout.write(VERSION)
    elif words[0] == "uri":
        sys.stdout.write("qemu:///system\n")
    elif words[0] == "list":
        list_domains(words, state["domains"])
    elif words[0] == "pool-list":
        if state["trouble"] == "pool list hangs":
            trip({"hangs": True})
        sys.stdout.write("".join(
            f"{pool_uuid(p)}{' ' + p['name'].ljust(20) if '--name' in words else ''}\n"
            for p in pools))
    elif words[0] == "pool-dumpxml":
        found = [p for p in state["pools"] if pool_uuid(p) == words[1]]
        trip(found[0])
        sys.stdout.write(found[0].get("xml") or POOL.format(**{"kind": "dir", **found[0]}))
    else:
        show(words, state)


def known() -> dict:
    """Return the state as it is, read again only when it was written."""
    written = STATE.stat().st_mtime_ns
    if KNOWN.get("written") != written:
        KNOWN.update(written=written, state=json.loads(STATE.read_text()))
    return KNOWN["state"]


def main() -> None:
    """Play the last argument, a sequence of commands."""
    with (HERE / "calls").open("a") as calls:
        calls.write("virsh\n")
    with (HERE / "arguments").open("a") as arguments:
        arguments.write(sys.argv[4] + "\0")
    trouble = json.loads(STATE.read_text())["trouble"]
    if trouble == "idle" and sys.argv[4:] == ["version"]:
        STATE.write_text(STATE.read_text().replace('"idle"', '""'))     # it was waited for
        return
    if trouble in {"hang", "idle"}:
        time.sleep(60)
    if trouble == "slow":
        time.sleep(0.5)
    if trouble == "dead":
        complain("failed to connect to the hypervisor")
        sys.exit(1)
    if trouble == "babble":
        while True:
            os.write(1, b"x" * 65536)
    if trouble == "cut":
        sys.stdout.write(VERSION)
        sys.exit(0)
    commands = [sys.argv[4:]] if len(sys.argv) > 5 else map(shlex.split, sys.argv[4].split("; "))
    for words in commands:
        try:
            play(words, known())
        except Failed as failure:
            complain(str(failure))


if __name__ == "__main__":
    main()

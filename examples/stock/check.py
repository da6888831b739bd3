"""The whole way of an estate on the stock hosts, each step as a person would type it.

From two hosts that nobody has prepared to VMs that are protected, exported, moved to the other
Debian and back. The first step that fails ends it with what was said.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Final

import power
from places import CACHE, HERE, HOSTS, KEY, KNOWN_HOSTS, StockError, on, run, wait_for

WORK = CACHE / "check"
ESTATE = WORK / "estate"
HOTSITE = HERE.parents[1] / ".venv/bin/hotsite"
DEB12, DEB13 = HOSTS
SITES = (f"paris={DEB12.address}", f"milan={DEB13.address}")
UNSEEN: Final = 5  # hotsite's exit status when something could not be seen
STEP_S: Final = 900.0  # emulated hosts on a machine that has other things to do
EXPORT = "/srv/restore"
VMS = 2
RECORDS = """
set -e
for disk in {export}/{vm}-*-vda.qcow2; do
    qemu-img convert -O raw "$disk" /root/disk.raw
    python3 /root/records.py /root/disk.raw
done
"""


def check() -> None:
    """Do every step and say how long each took."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(mode=0o700, parents=True)
    begun = time.monotonic()
    for said, step in STEPS:
        at = time.monotonic()
        found = step()
        now = time.monotonic()
        print(f"{now - begun:5.0f} s  {said} ({now - at:.0f} s){f': {found}' if found else ''}",
              flush=True)


def hotsite(*words: str, ok: tuple[int, ...] = (0,)) -> str:
    """Run hotsite until it could see everything; return what it said."""
    deadline = time.monotonic() + STEP_S
    while True:
        try:
            done = subprocess.run([str(HOTSITE), *words], capture_output=True, text=True,
                                  check=False, stdin=subprocess.DEVNULL, timeout=STEP_S,
                                  env={**os.environ, "HOTSITE_STATE": str(WORK / "state")})
        except subprocess.TimeoutExpired:
            raise StockError(f"hotsite {' '.join(words)} did not end") from None
        if done.returncode != UNSEEN or UNSEEN in ok or time.monotonic() > deadline:
            break
    if done.returncode not in ok:
        raise StockError(f"hotsite {' '.join(words)} ended with {done.returncode}:\n"
                         f"{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def plant() -> str:
    """Make the VMs that are there before hotsite comes."""
    run("as", "--32", "-o", str(WORK / "guest.o"), str(HERE / "guest.s"))
    run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o",
        str(WORK / "guest.bin"), str(WORK / "guest.o"))
    for host in HOSTS:
        on(host, "base64 -d >/root/guest.bin", text=run("base64", str(WORK / "guest.bin")))
        on(host, "cat >/root/records.py", text=(HERE / "records.py").read_text())
    on(DEB12, "sh", text=(HERE / "guests.sh").read_text(), timeout_s=STEP_S)
    on(DEB13, "virsh -q pool-define-as default dir --target /var/lib/libvirt/images"
       " && virsh -q pool-start default && virsh -q pool-autostart default")
    return ""


def import_estate() -> str:
    """Import both hosts; the plan on what is written is empty, or this fails."""
    words = ("import", *(host.address for host in HOSTS), "--site", SITES[0], "--site", SITES[1],
             "--out", str(ESTATE), "--key", str(KEY), "--known-hosts", str(KNOWN_HOSTS),
             "--name", "stock")
    deadline = time.monotonic() + STEP_S
    while "could not be read" in hotsite(*words, ok=(0, UNSEEN)) or not hosts_seen():
        if time.monotonic() > deadline:
            raise StockError("import has not seen all of both hosts")
        shutil.rmtree(ESTATE, ignore_errors=True)
    hotsite("plan", str(ESTATE))
    return f"{len(list(ESTATE.rglob('*.yaml')))} files, the plan is empty"


def hosts_seen() -> bool:
    """Say whether what was imported has both hosts and both VMs."""
    texts = [path.read_text() for path in ESTATE.rglob("*.yaml")] if ESTATE.exists() else []
    kinds = re.findall(r"^kind: (\w+)$", "\n".join(texts), re.MULTILINE)
    return kinds.count("Host") == len(HOSTS) and kinds.count("VirtualMachine") == VMS


def edit(file: str, pattern: str, replacement: str) -> None:
    """Change the lines of the specs that match, of which there is at least one."""
    path = ESTATE / file
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    if not count:
        raise StockError(f"{path} has no line like {pattern}")
    path.write_text(text)


def protect() -> str:
    """Protect both VMs while they are only observed, and copy over the other network."""
    for host in HOSTS:
        edit("hosts.yaml", rf"^  address: {re.escape(host.address)}$",
             rf"\g<0>\n  replicationAddress: {host.replication_address}")
    edit("estate.yaml", r"^  manage: observe.*$", r"\g<0>\n  autonomy: replicate")
    edit(f"vms/{DEB12.name}.yaml", r"^  uuid: .*$", r"\g<0>\n  protection: standard")
    before = domains()
    hotsite("apply", str(ESTATE), "--yes")
    if domains() != before:
        raise StockError("a VM that is only observed was changed")
    return "no definition has changed"


def domains() -> str:
    """Return the definitions of all VMs, without what libvirt itself notes of checkpoints."""
    return on(DEB12, "for vm in $(virsh list --all --name); do virsh dumpxml --inactive $vm; done")


def increments() -> str:
    """Make a second point of each VM."""
    return "; ".join(made_of(hotsite("replica", "copy", vm, str(ESTATE)))
                     for vm in ("win-2019", "db"))


def made_of(said: str) -> str:
    """Return the sentence of a point that was made."""
    found = re.search(r"made restore point.*", " ".join(said.split()))
    return found[0][:160] if found else said.strip()[-160:]


def verify() -> str:
    """Read both replicas against their hashes."""
    for vm in ("win-2019", "db"):
        hotsite("replica", "verify", vm, str(ESTATE))
    return ""


def restore() -> str:
    """Export both VMs, and find every record in what QEMU reads of them on the other Debian."""
    on(DEB13, f"mkdir -p {EXPORT}")
    found = []
    for vm in ("win-2019", "db"):
        hotsite("replica", "export", vm, EXPORT, str(ESTATE))
        found.append(on(DEB13, RECORDS.format(export=EXPORT, vm=vm), timeout_s=STEP_S).strip())
    return "; ".join(found)


def move_there_and_back() -> str:
    """Take WIN_2019 over, move it to the other Debian without loss, and back again."""
    edit(f"vms/{DEB12.name}.yaml", r"^  domain: WIN_2019$", "  domain: WIN_2019\n  manage: full"
         "\n  autonomy: failover\n  autostart: 'off'")
    with (WORK / "run.log").open("w") as log:
        loop = subprocess.Popen(
            [str(HOTSITE), "run", str(ESTATE)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "HOTSITE_STATE": str(WORK / "state")})
        try:
            hotsite("failover", "win-2019", "--planned", "--name-again", "win-2019")
            wait_for("WIN_2019 on Debian 13", lambda: runs_on(1), STEP_S)
            hotsite("failback", "win-2019", "--name-again", "win-2019")
            wait_for("WIN_2019 back on Debian 12", lambda: runs_on(0), STEP_S)
        finally:
            loop.send_signal(signal.SIGTERM)
            loop.wait(60)
    return ""


def runs_on(index: int) -> bool:
    """Say whether WIN_2019 runs on one host and not on the other."""
    there = ["WIN_2019" in on(host, "virsh -q list --name").split() for host in HOSTS]
    return there[index] and not there[1 - index]


def denied() -> str:
    """AppArmor denied nobody anything."""
    for host in HOSTS:
        # of swtpm Debian 12's own profile denies openssl.cnf
        said = on(host, "journalctl -b --no-pager | grep DENIED | grep -v swtpm || true")
        if said.strip():
            raise StockError(f"AppArmor on {host.name} denied:\n{said}")
    return ""


STEPS: tuple[tuple[str, Callable[[], str | None]], ...] = (
    ("both hosts are up", lambda: power.up(HOSTS, keep=False)),
    ("two VMs run on Debian 12 as somebody made them", plant),
    ("imported", import_estate),
    ("protected while they are only observed", protect),
    ("increments", increments),
    ("verified", verify),
    ("exported to Debian 13", restore),
    ("one taken over, moved to Debian 13, and moved back", move_there_and_back),
    ("nothing was denied", denied),
)

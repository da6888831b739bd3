"""The whole way of an estate on the stock hosts, each step as a person would type it.

From two hosts that nobody has prepared to VMs that are protected, exported, lost with their host
and brought back, moved to the other Debian, and moved live. hotsite logs in as `ops`, a sudo user.
The first step that fails ends it with what was said.
"""

import re
import shutil
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import estate
import faults
import power
from estate import ESTATE, STEP_S, UNSEEN, WORK, edit, hotsite
from places import HOSTS, KEY, KNOWN_HOSTS, Stock, StockError, on, wait_for

DEB12, DEB13 = HOSTS
SITES = (f"paris={DEB12.address}", f"milan={DEB13.address}")
EXPORT = "/srv/restore"
RECORDS = """
set -e
for disk in {export}/{vm}-*-vda.qcow2; do
    qemu-img convert -O raw "$disk" /root/disk.raw
    python3 /root/records.py /root/disk.raw
done
"""


class Guest(NamedTuple):
    """One VM: what it is called here and by libvirt, where it runs, and where its replica is."""

    name: str
    domain: str
    home: Stock
    twin: Stock


GUESTS: Final = (Guest("win-2019", "WIN_2019", DEB12, DEB13), Guest("db", "db", DEB12, DEB13),
                 Guest("mail", "mail", DEB13, DEB12))
WIN, DB, MAIL = GUESTS


def check() -> None:
    """Do every step and say how long each took."""
    estate.begin()
    begun = time.monotonic()
    for said, step in STEPS:
        at = time.monotonic()
        found = step()
        now = time.monotonic()
        print(f"{now - begun:5.0f} s  {said} ({now - at:.0f} s){f': {found}' if found else ''}",
              flush=True)


def plant() -> str:
    """Make the VMs that are there before hotsite comes."""
    for host in HOSTS:
        estate.plant(host, *(one.domain for one in GUESTS if one.home is host))
    return ", ".join(f"{one.domain} on {one.home.name}" for one in GUESTS)


def import_estate() -> str:
    """Import both hosts; the plan on what is written is empty, or this fails."""
    words = ("import", *(host.address for host in HOSTS), "--site", SITES[0], "--site", SITES[1],
             "--user", "ops", "--out", str(ESTATE), "--key", str(KEY), "--known-hosts",
             str(KNOWN_HOSTS), "--name", "stock")
    deadline = time.monotonic() + STEP_S
    while "could not be read" in hotsite(*words, ok=(0, UNSEEN)) or not hosts_seen():
        if time.monotonic() > deadline:
            raise StockError("import has not seen all of both hosts")
        shutil.rmtree(ESTATE, ignore_errors=True)
    hotsite("plan", str(ESTATE))
    return f"{len(list(ESTATE.rglob('*.yaml')))} files, the plan is empty"


def hosts_seen() -> bool:
    """Say whether what was imported has both hosts and every VM."""
    texts = [path.read_text() for path in ESTATE.rglob("*.yaml")] if ESTATE.exists() else []
    kinds = re.findall(r"^kind: (\w+)$", "\n".join(texts), re.MULTILINE)
    return kinds.count("Host") == len(HOSTS) and kinds.count("VirtualMachine") == len(GUESTS)


def doctor() -> str:
    """Plant faults on both hosts; doctor finds each, and what it advises mends it."""
    faults.plant()
    found = faults.mend_all(lambda: hotsite("doctor", "--specs", str(ESTATE), "--format", "json",
                                            ok=(0, 2, 3, UNSEEN)), WORK)
    if missed := [f"{one.about} {one.check}" for one in faults.FAULTS if one not in found]:
        raise StockError(f"doctor did not find: {', '.join(missed)}")
    return f"{len(found)} faults, each by what doctor said"


def protect() -> str:
    """Protect every VM while it is only observed, and copy over the other network."""
    for host in HOSTS:
        edit("hosts.yaml", rf"^  address: {re.escape(host.address)}$",
             rf"\g<0>\n  replicationAddress: {host.replication_address}")
        edit(f"vms/{host.name}.yaml", r"^  uuid: .*$", r"\g<0>\n  protection: standard")
    edit("estate.yaml", r"^  manage: observe.*$", r"\g<0>\n  autonomy: replicate")
    before = [definitions(host) for host in HOSTS]
    hotsite("apply", str(ESTATE), "--yes")
    if [definitions(host) for host in HOSTS] != before:
        raise StockError("a VM that is only observed was changed")
    return "no definition has changed"


def definitions(host: Stock) -> str:
    """Return the definitions of a host's VMs."""
    return on(host, "for vm in $(virsh list --all --name); do virsh dumpxml --inactive $vm; done")


def increments() -> str:
    """Make a second point of each VM, in both directions."""
    return "; ".join(made_of(hotsite("replica", "copy", one.name, str(ESTATE))) for one in GUESTS)


def made_of(said: str) -> str:
    """Return the sentence of a point that was made."""
    found = re.search(r"made restore point.*", " ".join(said.split()))
    return found[0][:160] if found else said.strip()[-160:]


def verify() -> str:
    """Read every replica against its hashes."""
    for one in GUESTS:
        hotsite("replica", "verify", one.name, str(ESTATE))
    return ""


def restore() -> str:
    """Export each VM, and find every record in what QEMU reads of it on the other Debian."""
    found = []
    for one in GUESTS:
        on(one.twin, f"mkdir -p {EXPORT}")
        hotsite("replica", "export", one.name, EXPORT, str(ESTATE))
        found.append(on(one.twin, RECORDS.format(export=EXPORT, vm=one.name),
                        timeout_s=STEP_S).strip())
    return "; ".join(found)


def take_over() -> str:
    """Take the VMs over, one by one; only our mark is written."""
    for one in GUESTS:
        edit(f"vms/{one.home.name}.yaml", rf"^metadata: {{name: {one.name}}}\nspec:$",
             r"\g<0>\n  manage: full\n  autonomy: failover")
        hotsite("apply", str(ESTATE), "--yes")
        hotsite("plan", str(ESTATE))
    return "one after another, each plan then is empty"


def lose_a_host() -> str:
    """Cut Debian 12's power: its VMs come back on Debian 13, and go home when it is up again."""
    with estate.loop():
        power.stop(DEB12)
        hotsite("failover", "paris", "--why", "its power is cut", "--no-wait", ok=(0, 2, 3))
        wait_for("the word that Debian 12 is off", confirmed, STEP_S)
        for one in (WIN, DB):
            wait_for(f"{one.domain} on Debian 13", lambda one=one: runs(one, DEB13), STEP_S)
        power.up((DEB12,), keep=True)
        hotsite("failback", "paris", "--name-again", "paris", ok=(0, 2))
        for one in (WIN, DB):
            wait_for(f"{one.domain} back on Debian 12", lambda one=one: runs(one, DEB12), STEP_S)
    return ""


def confirmed() -> bool:
    """Say that Debian 12 is off, and whether that was heard."""
    said = hotsite("confirm-fenced", DEB12.name, "--reason", "cut it off", ok=(0, 3, UNSEEN))
    return "written" in said or "counts" in said


def move_there_and_back() -> str:
    """Move WIN_2019 to the other Debian without loss, and back again."""
    with estate.loop():
        hotsite("failover", WIN.name, "--planned", "--name-again", WIN.name)
        wait_for("WIN_2019 on Debian 13", lambda: runs(WIN, DEB13), STEP_S)
        hotsite("failback", WIN.name, "--name-again", WIN.name)
        wait_for("WIN_2019 back on Debian 12", lambda: runs(WIN, DEB12), STEP_S)
    return ""


def runs(guest: Guest, host: Stock) -> bool:
    """Say whether a VM runs on one host and not on the other; a host that is off runs nothing."""
    there = {one for one in HOSTS if power.pid_of(one) is not None
             and guest.domain in on(one, "virsh -q list --name").split()}
    return there == {host}


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
    ("VMs run as somebody made them", plant),
    ("imported", import_estate),
    ("planted faults found and mended", doctor),
    ("protected while they are only observed", protect),
    ("increments", increments),
    ("verified", verify),
    ("exported at the other site", restore),
    ("taken over", take_over),
    ("Debian 12 lost, its VMs promoted on Debian 13, and brought back", lose_a_host),
    ("one moved to Debian 13, and moved back", move_there_and_back),
    ("nothing was denied", denied),
)

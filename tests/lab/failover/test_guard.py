"""Guards on real hosts: cut off in any way they end their guests, and only then."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import STATE, Lab, wait_until

DEADLINE_S, KILL_S, WATCHDOG_S = 4.0, 2.0, 3.0
LATE_S = 1.0
"""How long after the deadline the last guest may be gone: what the figures promise."""
HOMES = {"sql": "paris-1", "web": "paris-1", "mail": "paris-2"}
POLICY = """kind: ProtectionPolicy
metadata: {name: cut}
spec: {rpo: 1h, isolation: stop}
"""
WITNESS = """kind: Witness
metadata: {name: witness}
spec: {address: 10.77.0.4, place: hq}
"""
GUARD = f"""  failover:
    guard:
      keyFile: {STATE}/guard.key
      deadline: {DEADLINE_S:g}s
      kill: {KILL_S:g}s
      watchdog: {WATCHDOG_S:g}s
  limits:
"""


def boottime() -> float:
    """Return the clock that guards go by: hosts of the lab share this machine's."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def qemu_of(vm: str) -> int:
    """Return the process of a guest, wherever it runs, or 0."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(f"guest={vm},".encode()) for word in words):
            return int(path.parent.name)
    return 0


def gone_at(*vms: str, limit_s: float = 60) -> float:
    """Wait until the processes of guests are gone, and return when the last one was."""
    found = {vm: qemu_of(vm) for vm in vms}
    until = time.monotonic() + limit_s
    while any(pid and Path(f"/proc/{pid}").exists() for pid in found.values()):
        assert time.monotonic() < until, f"{found} have not ended"
        time.sleep(0.01)
    return boottime()


def stays(condition: Callable[[], bool], for_s: float) -> bool:
    """Return whether something holds for so long."""
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        if not condition():
            return False
        time.sleep(0.1)
    return True


class Site:
    """The lab's estate with guards that end sql, web and mail."""

    def __init__(self, lab: Lab, hotsite: Hotsite) -> None:
        self.lab, self.hotsite = lab, hotsite
        self.broken: list[tuple[str, ...]] = []

    def shown(self, host: str) -> str:
        """Look, and return what is said of a host's guard."""
        path = self.hotsite.specs.parent / "plan.json"
        self.hotsite.ask("plan", str(self.hotsite.specs), "--out", str(path))
        return next(str(one["message"]) for one in json.loads(path.read_text())["conditions"]
                    if (one["target"], one["type"]) == (f"Host/{host}", "Guarded"))

    def converge(self) -> None:
        """Let all guests run at home, and every guard be granted."""
        while self.broken:
            self.lab.mend(*self.broken.pop())
        wait_until("all run and are guarded", self.is_well, 240)

    def is_well(self) -> bool:
        """Return whether all guests run and are guarded; apply the specs where they are not."""
        if all(map(qemu_of, HOMES)) and self.content("paris-1") and self.content("paris-2"):
            return True
        self.hotsite.ask("apply", str(self.hotsite.specs), "--yes")
        return False

    def strike(self, *words: str) -> None:
        """Break something that is mended before the next test."""
        self.lab.break_(*words)
        self.broken.append(words)

    def content(self, host: str) -> bool:
        """Return whether a host's guard holds guests and was granted just now."""
        script = (
            "import sys; sys.path.insert(0, __import__('glob').glob("
            "'/run/hotsite/guard/guard-*.pyz')[0]); from guard.shown import guard_of;"
            " sys.stdout.write(guard_of())")
        said = self.lab.ask("exec", host, "--", "python3", "-I", "-S", "-c", script)
        if said.status != 0:
            return False
        guard = json.loads(said.output)
        return bool(guard["running"] and guard["content"] and guard["held"]
                    and guard["processes"] == 2)

    def tombstones(self, host: str) -> set[str]:
        """Return the guests that a guard says it has ended."""
        text = self.lab.exec(host, "sh", "-c", "cat /run/hotsite/guard/tombstones/*.json || :")
        return set(re.findall(r'"name": "([^"]*)"', text))

    def cut(self, *ways: tuple[str, str, str]) -> float:
        """Lose what nodes send, and return when all of it is lost."""
        for way in ways:
            self.strike("way", *way)
        return boottime()


@pytest.fixture(scope="module")
def guarded(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Set the guards up as an operator does: by the specs."""
    hotsite = Hotsite(tmp_path_factory.mktemp("guard"))
    hotsite.declare("protection_policy", "cut", POLICY)
    hotsite.declare("witness", "witness", WITNESS)
    hotsite.edit("estate", "lab", "  limits:\n", GUARD)
    for vm, host in HOMES.items():
        hotsite.pin(vm, host)
        text = hotsite.path("virtual_machine", vm).read_text()
        hotsite.declare("virtual_machine", vm, f"{text.rstrip()}\n  protection: cut\n")
    site = Site(lab, hotsite)
    yield site
    site.converge()


@pytest.fixture
def site(guarded: Site) -> Site:
    """Every guest at home, every guard granted."""
    guarded.converge()
    return guarded


def test_cut_off_from_all_its_guests_end_in_time_with_libvirtd_or_without(site: Site) -> None:
    assert site.shown("paris-1").startswith("its guard runs and is granted by")
    at = site.cut(("paris-1", "all", "any"))
    assert gone_at("sql", "web") <= at + DEADLINE_S + LATE_S
    assert qemu_of("mail")
    assert site.tombstones("paris-1") == {"sql", "web"}
    wait_until("libvirt has seen its end",
               lambda: "shut off" in site.lab.virsh("paris-1", "domstate", "sql"))
    site.lab.ask("exec", "paris-1", "--", "virsh", "start", "sql")  # by hand, against the guard
    gone_at("sql")

    site.converge()
    site.strike("libvirtd", "paris-1")
    at = site.cut(("paris-1", "all", "any"))
    assert gone_at("sql", "web") <= at + DEADLINE_S + LATE_S


def test_what_a_guard_has_ended_is_started_again_only_once_it_is_granted(site: Site) -> None:
    at = site.cut(("paris-1", "all", "grants"))     # the controller reaches it all the while
    assert gone_at("sql", "web") <= at + DEADLINE_S + LATE_S
    said = site.hotsite.plan().output
    assert "the guard of paris-1 has ended it" in " ".join(said.split())
    assert "nobody has granted it for 4 s" in site.shown("paris-1")
    site.lab.mend(*site.broken.pop())
    wait_until("its guard is content", lambda: "is granted by" in site.shown("paris-1"), 60)
    site.hotsite.converge()
    assert qemu_of("sql")
    wait_until("its tombstones are gone", lambda: site.tombstones("paris-1") == set(), 30)


def test_it_ends_nothing_while_anybody_grants(site: Site) -> None:
    def all_run() -> bool:
        return all(map(qemu_of, HOMES))

    site.cut(("paris-1", "controller", "any"))
    assert stays(all_run, DEADLINE_S + 2)           # the controller alone is gone
    site.cut(("paris-1", "milan-1", "any"), ("paris-1", "witness", "grants"))
    assert stays(all_run, DEADLINE_S + 2)           # milan-2 is left
    at = site.cut(("paris-1", "milan-2", "any"))
    assert gone_at("sql", "web") <= at + DEADLINE_S + LATE_S
    assert qemu_of("mail")


def test_a_frozen_host_is_reset_by_its_watchdog_and_nothing_starts_by_itself(site: Site) -> None:
    site.lab.break_("watchdog", "paris-2", f"{WATCHDOG_S:g}")
    text = site.hotsite.path("host", "paris-2").read_text()
    with site.hotsite.edited("host", "paris-2", "  bridge: br0\n",
                             "  bridge: br0\n  watchdog: /run/hotsite/watchdog\n"):
        site.hotsite.converge()
        wait_until("its watchdog is fed", lambda: "it feeds FIFO" in site.shown("paris-2"), 60)
        at = boottime()
        site.lab.break_("hang", "paris-2")
        wait_until("its power is cut", lambda: site.lab.nodes()["paris-2"] == "off", 60)
        assert boottime() - at < WATCHDOG_S + 5
        assert not qemu_of("mail")
        site.lab.mend("power", "paris-2")
        assert stays(lambda: not qemu_of("mail"), 3)
    assert site.hotsite.path("host", "paris-2").read_text() == text
    site.lab.mend("watchdog", "paris-2")


def test_a_witness_that_was_switched_off_still_refuses(site: Site) -> None:
    order = {"epoch": 1, "hosts": ["paris-1"], "order": {"term": 0, "by": "t", "why": "a test"}}
    script = 'python3 -I -S /run/hotsite/guard/guard-*.pyz "$1" /run/hotsite/guard'
    revoked = json.loads(site.lab.exec("witness", "sh", "-c", script, "sh", "revoke",
                                       text=json.dumps(order)))
    assert revoked["ages"]["paris-1"]["since"] == "grant"
    site.lab.break_("power", "witness")
    site.lab.mend("power", "witness")
    assert '"paris-1"' in site.lab.exec("witness", "cat", "/var/lib/hotsite/guard/revoked.json")
    site.hotsite.apply()        # sets it up again, and sees then that no failover needs this
    assert qemu_of("sql")                           # the others grant
    assert any(one["action_id"].startswith("restore-grants:Witness/witness@witness/1-paris-1")
               for one in site.hotsite.events())


def test_one_killed_process_is_started_again_by_the_other(site: Site) -> None:
    find = "pgrep -f 'guard-.*[.]pyz run-guard' || :"
    before = site.lab.exec("paris-1", "sh", "-c", find).split()
    assert len(before) == 2
    site.lab.exec("paris-1", "kill", "-9", before[0])
    wait_until("two run again", lambda: len(set(site.lab.exec(
        "paris-1", "sh", "-c", find).split()) - {before[0]}) == 2, 30)
    assert before[1] in site.lab.exec("paris-1", "sh", "-c", find).split()

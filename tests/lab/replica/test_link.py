"""Two guests with different policies share a throttled link: the one due sooner goes first."""

import json
import subprocess
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.lab.hotsite import Hotsite
from tests.lab.lab import STATE, Lab, wait_until
from tests.lab.witness import IMAGES

LINK_BPS = 8_000_000
TENTH = 0.1
GUESTS = {"mail": ("paris-2", 20.0, 2), "web": ("paris-1", 50.0, 10)}
"""Each one's host, RPO, and how many MiB it writes again and again."""
FAR = ("milan-1", "milan-2")
LOOK_S, WINDOW_S = 0.25, 4.0
LEAST_S, LIMIT_S = 30, 150
"""Watched for so long at least, and until the link was full; a guest may be slow to write."""
COUNT = r"""while read -r up _ </proc/uptime; do
  while read -r name _ _ _ _ _ _ _ _ sent _; do
    if [ "$name" = rep0: ]; then echo "$up $sent" || exit; fi
  done </proc/net/dev
  sleep 0.2
done"""
Count = tuple[float, int]
"""An instant by the clock that all hosts of the lab share, and the bytes sent until then."""


@pytest.fixture(scope="module")
def hotsite(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hotsite]:
    """Specs in which two guests are protected, each by a policy of its own."""
    hotsite = Hotsite(tmp_path_factory.mktemp("link"))
    gold = hotsite.path("protection_policy", "gold").read_text()
    for vm, (host, rpo_s, _) in GUESTS.items():
        hotsite.pin(vm, host)
        hotsite.edit("virtual_machine", vm, "  power: on\n", f"  power: on\n  protection: {vm}\n")
        hotsite.declare("protection_policy", vm, gold.replace("name: gold", f"name: {vm}").replace(
            "rpo: 5m", f"rpo: {rpo_s:g}s").replace("last: 12, hourly: 24, daily: 7", "last: 2"))
    yield hotsite
    uuids = [converged.virsh(host, "domuuid", vm).strip() for vm, (host, _, _) in GUESTS.items()]
    for host in FAR:
        converged.exec(host, "rm", "-rf", *(f"{IMAGES}/hotsite-replicas/{one}" for one in uuids))


def newest_points() -> dict[str, float]:
    """Return by guest when its newest whole restore point began."""
    found = {}
    for path in STATE.glob("nodes/milan-*/disk/images/hotsite-replicas/*/state.json"):
        told = json.loads(path.read_text())["state"]
        points = [float(one["started_at"]) for one in told["points"] if not one["damaged"]]
        found[str(told["facts"]["machine"])] = max(points, default=0.0)
    return {vm: at for vm, at in found.items() if vm in GUESTS and at}


class Counter:
    """Counts on each host what leaves it for other hosts, every header included."""

    def __init__(self) -> None:
        self.counts: dict[str, list[Count]] = {host: [] for host, _, _ in GUESTS.values()}
        self._ended = threading.Event()

    @contextmanager
    def counting(self, lab: Lab) -> Iterator[None]:
        """Count while the block lasts."""
        asked = {host: subprocess.Popen(
            lab.command("exec", host, "--", "sh", "-c", COUNT), text=True, bufsize=1,
            stdout=subprocess.PIPE, env=lab.environment()) for host in self.counts}
        hearing = [threading.Thread(target=self._hear, args=(host, process))
                   for host, process in asked.items()]
        for thread in hearing:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in hearing:
                thread.join()

    def _hear(self, host: str, process: subprocess.Popen[str]) -> None:
        """Take lines until no more are wanted; whoever writes them ends when nobody reads."""
        with process:
            for at_s, sent in (line.split() for line in process.stdout or ()):
                self.counts[host].append((float(at_s), int(sent)))
                if self._ended.is_set():
                    break

    def watched_s(self) -> float:
        """Return for how long both hosts have been counted."""
        if not all(self.counts.values()):
            return 0.0
        return (min(one[-1][0] for one in self.counts.values())
                - max(one[0][0] for one in self.counts.values()))

    def busiest_bps(self) -> float:
        """Return the highest rate of both together over a window; 0 before the first."""
        counts = {host: tuple(one) for host, one in self.counts.items()}
        return max(rates_bps(counts), default=0.0) if self.watched_s() > WINDOW_S else 0.0


def at(counts: Sequence[Count], instant_s: float) -> float:
    """Return how many bytes had been counted at an instant, between two looks in proportion."""
    number = min(bisect_left(counts, (instant_s, 0)), len(counts) - 1)
    (before_s, before), (after_s, after) = counts[max(0, number - 1)], counts[number]
    share = (instant_s - before_s) / (after_s - before_s) if after_s > before_s else 1.0
    return before + (after - before) * max(0.0, min(1.0, share))


def rates_bps(counts: Mapping[str, Sequence[Count]]) -> list[float]:
    """Return the rate of both hosts together over every stretch of the window's length."""
    first_s = max(one[0][0] for one in counts.values())
    last_s = min(one[-1][0] for one in counts.values())
    steps = range(round((last_s - first_s - WINDOW_S) / LOOK_S))
    return [8 / WINDOW_S * sum(at(one, first_s + step * LOOK_S + WINDOW_S)
                               - at(one, first_s + step * LOOK_S) for one in counts.values())
            for step in steps]


@contextmanager
def repeated(work: Callable[[], None], pause_s: float) -> Iterator[None]:
    """Do something again and again while the block lasts."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(pause_s):
            work()
    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def writing(lab: Lab) -> AbstractContextManager[None]:
    """Let both guests write over their own disks meanwhile, with bytes that do not compress."""
    def write() -> None:
        for vm, (host, _, mib) in GUESTS.items():
            lab.write(host, vm, 32, mib)
    return repeated(write, 1.0)


def made(hotsite: Hotsite) -> dict[str, int]:
    """Return by guest how many restore points have been made."""
    targets = [one["target"] for one in hotsite.events() if one["kind"] == "outcome"
               and one["outcome"] == "done" and one["action_id"].startswith("replicate:")]
    return {vm: targets.count(f"Replica/{vm}") for vm in GUESTS}


def test_a_full_link_keeps_to_its_rate_and_serves_the_one_with_less_slack_first(
        converged: Lab, hotsite: Hotsite) -> None:
    counter = Counter()
    with hotsite.running() as loop, writing(converged):
        wait_until("a point of both", lambda: newest_points().keys() == GUESTS.keys())
        hotsite.edit("inter_site_link", "metro", "  members: 2\n",
                     f"  members: 2\n  replicationBandwidth: {LINK_BPS // 10**6}Mbit/s\n")
        loop.wait_settled(well=False)
        before = made(hotsite)
        with counter.counting(converged):
            wait_until("a full link", lambda: counter.watched_s() > LEAST_S
                       and counter.busiest_bps() > (1 - TENTH) * LINK_BPS, LIMIT_S)
        after = made(hotsite)
    assert counter.busiest_bps() < (1 + TENTH) * LINK_BPS
    # it may be in the middle of a copy of the one and at the end of one of the other
    assert after["mail"] - before["mail"] + 1 >= after["web"] - before["web"], (before, after)

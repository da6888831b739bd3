"""The lease: how soon a standby acts after the controller was killed, and what terms cost.

Both drivers stand side by side: a witness over SSH, and a cluster of etcd with three members, all
on loopback.
"""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from controller.providers.termed import COMPARE
from tests.bench.figure import Figure
from tests.lease.contenders import Contest, Weather, contend
from tests.lease.etcd import Cluster
from tests.lease.places import Place, in_etcd, witness_over_ssh
from tests.transport.sshd import Sshd

TTL_S = 15.0
KILLS = 5
LANES, TAKEOVERS, SHORT_S = 5, 20, 2.0
"""So many estates at once, each with so many takeovers, by a lease of so many seconds."""
COMMANDS = 100
Pair = tuple["subprocess.Popen[str]", int, list[float], "subprocess.Popen[str]"]
"""A controller, its term, where to put the outcome, and its standby."""


def figures() -> list[Figure]:
    """Return every figure of the lease."""
    folder = Path(tempfile.mkdtemp(prefix="hotsite-bench-"))
    sshd, cluster = Sshd(folder / "sshd"), Cluster(folder)
    sshd.prepare()
    sshd.start()
    cluster.start()
    try:
        cluster.wait()
        witness: dict[str, Any] = {"endpoints": [], "witness": asdict(sshd.endpoint("aws")),
                                   "folder": str(folder / "killed")}
        etcd: dict[str, Any] = {"endpoints": list(cluster.endpoints)}
        ours, peers = takeovers(witness, etcd)
        at_witness = contested(witness_over_ssh(folder / "contested", sshd))
        at_etcd = contested(in_etcd(cluster))
        return [
            Figure("standby acts, after kill -9 of the controller, lease of 15 s at a witness",
                   "s", ours, limit=TTL_S + 5, limit_at=1.0, peer="etcd", peer_samples=peers),
            Figure(f"double acts in {at_witness.takeovers} takeovers, lease of 2 s at a witness",
                   "times", (float(len(at_witness.double_acts())),), limit=0,
                   note=f"{len(at_witness.spans)} spans, {at_witness.deaths} deaths"),
            Figure(f"double acts in {at_etcd.takeovers} takeovers, lease of 2 s in etcd",
                   "times", (float(len(at_etcd.double_acts())),), limit=0,
                   note=f"{len(at_etcd.spans)} spans, {at_etcd.deaths} deaths"),
            *cost_of_a_term(folder / "node")]
    finally:
        cluster.stop()
        sshd.stop()


@contextmanager
def process(words: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Run a controller until the block ends."""
    child = subprocess.Popen([sys.executable, "-m", "tests.bench.failover.controller",
                              json.dumps(words)], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def conducts(child: subprocess.Popen[str]) -> int:
    """Wait until a controller conducts, and return its term."""
    assert child.stdout is not None
    while True:
        line = child.stdout.readline()
        assert line, "a controller has ended by itself"
        said = json.loads(line)
        if said["conducts"]:
            return int(said["term"])


def takeovers(*places: dict[str, Any]) -> tuple[tuple[float, ...], ...]:
    """Return, by place, how long each standby took after its controller was killed."""
    found: list[list[float]] = [[] for _ in places]
    with ExitStack() as stack:
        pairs: list[Pair] = []
        for place, samples in zip(places, found, strict=True):
            for number in range(KILLS):
                words = {**place, "estate": f"killed{number}", "ttl_s": TTL_S}
                first = stack.enter_context(process({**words, "standby": False}))
                term = conducts(first)
                pairs.append((first, term, samples, stack.enter_context(
                    process({**words, "standby": True}))))
        for *_, second in pairs:    # each has asked at least once
            assert second.stdout is not None
            second.stdout.readline()
        with ThreadPoolExecutor(len(pairs)) as waiting:
            for samples, took_s in waiting.map(taken_over, pairs):
                samples.append(took_s)
    return tuple(tuple(samples) for samples in found)


def taken_over(pair: Pair) -> tuple[list[float], float]:
    """Kill a controller, and return how long its standby took, with where that is collected."""
    first, term, samples, second = pair
    first.kill()
    killed = time.monotonic()
    assert conducts(second) == term + 1
    return samples, time.monotonic() - killed


def contested(place: Place) -> Contest:
    """Let three controllers of each of several estates contend, die and sleep; add it all up."""
    async def whole() -> list[Contest]:
        try:
            return await asyncio.gather(*(contend(
                lambda lane=lane: place.make(f"lane{lane}"), ("milan", "paris", "third"), SHORT_S,
                TAKEOVERS, Weather(0.1, dies=0.05, asleep=0.05), seed=lane)
                for lane in range(LANES)))
        finally:
            await place.close()
    total = Contest()
    for lane, contest in enumerate(asyncio.run(whole())):
        assert not contest.shared_terms()
        assert not contest.falling_terms()
        offset, later = lane * 1_000_000, lane * 1e6    # estates have nothing to do with another
        total.spans += [type(one)(one.holder, one.term + offset, one.begin + later,
                                  one.end + later) for one in contest.spans]
        total.deaths += contest.deaths
    return total


def cost_of_a_term(folder: Path) -> list[Figure]:
    """Return what comparing the term adds to a command on its host, with and without by turns."""
    plain = ("true",)
    termed = ("sh", "-c", COMPARE, "hotsite", str(folder), "1", "bench/1", "run", *plain)
    subprocess.run(termed, check=True)
    added: list[list[float]] = [[], []]
    for _ in range(COMMANDS):
        without, within = cost_of(plain), cost_of(termed)
        for samples, before, after in zip(added, without, within, strict=True):
            samples.append(1000 * (after - before))
    cpu, wall = (tuple(samples) for samples in added)
    return [Figure("computing added to each command by comparing the term", "ms", cpu, limit=10),
            Figure("time added to each command by comparing the term", "ms", wall,
                   note="what else the machine does counts, too")]


def cost_of(argv: tuple[str, ...]) -> tuple[float, float]:
    """Run a command, and return the processor time and the time that it took."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, check=True)
    took_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took_s

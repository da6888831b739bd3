"""What a poll costs the controller: 200 hosts behind real sshds on loopback, pyinfra beside it.

Compared are the facts that both can gather: processors, memory, load, architecture, boot id and
clock. The whole poll adds domains with their XML, pools and bridges from programs that play
libvirt and Open vSwitch on recorded data. Only the controller's own CPU time counts.
"""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from controller.model.desired import Desired
from controller.model.facts import Known
from controller.providers.linux.estate import LinuxEstate
from controller.providers.linux.program import load_program
from controller.source.load import load_folder
from controller.transport.base import Endpoint
from controller.transport.ssh import SshTransport
from tests.bench.figure import Figure
from tests.providers.linux.conftest import PlayedHost
from tests.transport.sshd import Sshd, make_key, public

ROOT = Path(__file__).parent.parent.parent
HOSTS = 200
PER_SSHD = 16           # as many addresses as one sshd listens on
ROUNDS = {"basic": 5, "whole": 3, "pyinfra": 3}
BASIC = json.dumps({"want": [], "known": {}})
AT_ONCE = 16            # polls are spread over their interval; the hosts share two processors here
BUDGET_MS = 4.0


class Ours(NamedTuple):
    """CPU milliseconds per host, and seconds of wall time of one whole round."""

    login: tuple[float, ...]
    basic: tuple[float, ...]
    whole: tuple[float, ...]
    wall: float


class Peer(NamedTuple):
    """CPU milliseconds per host."""

    login: tuple[float, ...]
    rounds: tuple[float, ...]


def figures() -> list[Figure]:
    """Return the controller's CPU per host and poll, and pyinfra's for the same facts."""
    with TemporaryDirectory() as name, endpoints(Path(name)) as found:
        ours = asyncio.run(poll(found))
        peer = pyinfra(found)
    note = f"{HOSTS} hosts; all in {ours.wall:.1f} s a round here, sshds included"
    return [
        Figure("poll: the facts pyinfra has too, CPU per host", "ms", ours.basic,
               limit=BUDGET_MS, peer="pyinfra", peer_samples=peer.rounds),
        Figure("poll: everything, CPU per host", "ms", ours.whole, limit=BUDGET_MS, note=note),
        Figure("login, CPU per host", "ms", ours.login, peer="pyinfra",
               peer_samples=peer.login),
    ]


@contextmanager
def endpoints(folder: Path) -> Iterator[tuple[Endpoint, ...]]:
    """Start the sshds and give one endpoint per address."""
    played = PlayedHost(folder / "played")
    key = make_key(folder / "id_ed25519")
    known, sshds, found = folder / "known_hosts", [], []
    addresses = [f"127.77.{n // 100}.{n % 100 + 1}" for n in range(HOSTS)]
    for number in range(0, HOSTS, PER_SSHD):
        mine = addresses[number:number + PER_SSHD]
        sshd = Sshd(folder / f"sshd-{number}", mine[0])
        sshd.folder.mkdir()
        shutil.copy(key, sshd.key_file)
        shutil.copy(key.with_suffix(".pub"), sshd.key_file.with_suffix(".pub"))
        sshd.prepare()
        with (sshd.folder / "sshd_config").open("a") as config:
            config.writelines(f"ListenAddress {a}:{sshd.port}\n" for a in mine[1:])
            config.write(f"SetEnv PATH={played.bin}:/usr/bin:/bin HOME={played.folder}\n")
        with known.open("a") as file:
            file.writelines(f"[{a}]:{sshd.port} {public(sshd.folder / 'host_key')}\n" for a in mine)
        sshds.append(sshd)
        found += [replace(sshd.endpoint(a), address=a, key_file=str(key), known_hosts=str(known))
                  for a in mine]
    try:
        for sshd in sshds:
            sshd.start()
        yield tuple(found)
    finally:
        for sshd in sshds:
            sshd.stop()


async def poll(found: tuple[Endpoint, ...]) -> Ours:
    """Return CPU milliseconds per host: of logging in, of basic polls and of whole ones."""
    transport = SshTransport(connect_s=60)
    estate = LinuxEstate(transport, time.time)
    await estate.declare(estate_of(found))
    transport.declare(found)
    names = [endpoint.name for endpoint in found]
    program = load_program("facts.py")

    async def basic(name: str) -> None:
        answer = json.loads(await transport.ask(name, program, BASIC, 60))
        assert answer["hardware"]["memory_bytes"] > 0

    async def whole(name: str) -> None:
        fact = await estate.observe(name)
        assert isinstance(fact, Known), fact
        assert isinstance(fact.value.domains, Known), fact.value.domains
        assert isinstance(fact.value.bridges, Known), fact.value.bridges

    login = await cost(names, basic)
    basics = [await cost(names, basic) for _ in range(ROUNDS["basic"])]
    await cost(names, whole)  # the first sends and parses all; what follows is every other poll
    began = time.perf_counter()
    wholes = [await cost(names, whole) for _ in range(ROUNDS["whole"])]
    wall = (time.perf_counter() - began) / len(wholes)
    await estate.close()
    return Ours((login,), tuple(basics), tuple(wholes), wall)


async def cost(names: list[str], ask: Callable[[str], Awaitable[None]]) -> float:
    """Return what asking every host once costs this process, in CPU milliseconds per host."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def in_turn(name: str) -> None:
        async with gate:
            await ask(name)

    began = time.process_time()
    await asyncio.gather(*map(in_turn, names))
    return (time.process_time() - began) * 1000 / len(names)


def estate_of(found: tuple[Endpoint, ...]) -> Desired:
    """Return specs in which every endpoint is a host."""
    lab = load_folder(ROOT / "specs")
    host = next(iter(lab.hosts.values()))
    hosts = {e.name: host.model_copy(update={
        "metadata": host.metadata.model_copy(update={"name": e.name}),
        "spec": host.spec.model_copy(update={"address": e.address})}) for e in found}
    return replace(lab, hosts=hosts, switches={})


def pyinfra(found: tuple[Endpoint, ...]) -> Peer:
    """Return the same of pyinfra, in a process of its own."""
    asked = {"endpoints": [asdict(endpoint) for endpoint in found], "rounds": ROUNDS["pyinfra"]}
    ended = subprocess.run([sys.executable, "-m", "tests.bench.peer_pyinfra"], cwd=ROOT,
                           input=json.dumps(asked), capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout)
    assert told["missing"] == [], f"pyinfra could not gather {told['missing']}"
    each = 1000 / len(found)
    return Peer((told["connected"] * each,), tuple(cpu * each for cpu, _wall in told["rounds"]))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps([f.as_json() for f in figures()], indent=2) + "\n")

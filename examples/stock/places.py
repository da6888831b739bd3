"""Say what the stock hosts are: names, addresses, folders, and how to run a program; no more."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("HOTSITE_STOCK") or Path(
    os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "hotsite-stock"))
RUN = CACHE / "run"  # what lives as long as the hosts are up, and their disks
KEY = CACHE / "id_ed25519"
KNOWN_HOSTS = CACHE / "known_hosts"
NAMESPACE = "hs-stock"  # of the hosts' cables and processes
GATE = "hs-stock0"  # this machine's end of the cable to them
PLANES = {"adm": "10.66.0", "rep": "10.67.0"}
DISK_BYTES = 8 << 30  # of each host's second disk, which holds the volume group vg0


class StockError(Exception):
    """Something that the stock hosts need did not happen; the message says what."""


class Stock(NamedTuple):
    """One stock host."""

    name: str
    suite: str
    octet: int

    @property
    def address(self) -> str:
        """Return its address on the admin network."""
        return f"{PLANES['adm']}.{self.octet}"

    @property
    def replication_address(self) -> str:
        """Return its address on the replication network."""
        return f"{PLANES['rep']}.{self.octet}"

    @property
    def image(self) -> Path:
        """Return its disk as it was built, with its own names and keys; never booted itself."""
        return CACHE / f"{self.name}.raw"

    def running(self, ending: str) -> Path:
        """Return a file that it has while it is up: disk, pid, console, …"""
        return RUN / f"{self.name}.{ending}"

    def tap(self, plane: str) -> str:
        """Return its cable on a plane, in the namespace."""
        return f"{plane}{self.octet}"


HOSTS = (Stock("deb12", "bookworm", 12), Stock("deb13", "trixie", 13))
SECOND = Stock("deb12b", "bookworm", 14)  # a second host beside deb12, for the guide
EVERY = (*HOSTS, SECOND)


def host_of(name: str) -> Stock:
    """Return a stock host by its name."""
    for one in EVERY:
        if one.name == name:
            return one
    raise StockError(f"there is no stock host {name}: it is one of "
                     + ", ".join(one.name for one in EVERY))


def run(*argv: str, text: str = "", timeout_s: float = 60,
        env: dict[str, str] | None = None) -> str:
    """Run one program to its end and return its output."""
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False,
                              timeout=timeout_s, errors="replace", env=env)
    except FileNotFoundError:
        raise StockError(f"{argv[0]} is not installed; run examples/stock/install") from None
    except subprocess.TimeoutExpired:
        raise StockError(f"{shlex.join(argv)} took longer than {timeout_s:g} s") from None
    if done.returncode != 0:
        why = done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}"
        raise StockError(f"{shlex.join(argv)} failed: {why}")
    return done.stdout


def wait_for(what: str, condition: Callable[[], bool], limit_s: float) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise StockError(f"{what} did not come about within {limit_s:g} s")
        time.sleep(0.5)


def ssh_argv(host: Stock, user: str = "root") -> list[str]:
    """Return the command that logs in to a host; the host key is the one that was built in."""
    return ["ssh", "-F", "none", "-i", str(KEY), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5",
            "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={KNOWN_HOSTS}",
            f"{user}@{host.address}"]


def on(host: Stock, script: str, *, text: str = "", timeout_s: float = 120) -> str:
    """Run a shell script on a host as root and return its output."""
    return run(*ssh_argv(host), script, text=text, timeout_s=timeout_s)

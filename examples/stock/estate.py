"""One estate on the stock hosts, as a person on this machine has it: its specs, and hotsite.

Every verb is a process of its own, as it is typed; the loop is one that runs meanwhile.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from places import CACHE, HERE, Stock, StockError, on, run

WORK = CACHE / "check"
ESTATE = WORK / "estate"
HOTSITE = HERE.parents[1] / ".venv/bin/hotsite"
UNSEEN: Final = 5  # hotsite's exit status when something could not be seen
STEP_S: Final = 900.0  # emulated hosts on a machine that has other things to do
STOP_S: Final = 60.0


def begin() -> None:
    """Begin with an empty folder."""
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(mode=0o700, parents=True)


def plant(host: Stock, *domains: str) -> None:
    """Make VMs of guests.sh on a host, as somebody did before hotsite came."""
    run("as", "--32", "-o", str(WORK / "guest.o"), str(HERE / "guest.s"))
    run("ld", "-m", "elf_i386", "-Ttext", "0x7c00", "--oformat", "binary", "-o",
        str(WORK / "guest.bin"), str(WORK / "guest.o"))
    on(host, "base64 -d >/root/guest.bin", text=run("base64", str(WORK / "guest.bin")))
    on(host, "cat >/root/records.py", text=(HERE / "records.py").read_text())
    on(host, f"sh -s {' '.join(domains)}", text=(HERE / "guests.sh").read_text(), timeout_s=STEP_S)


def settings() -> dict[str, str]:
    """Return the environment that hotsite runs in."""
    return {**os.environ, "HOTSITE_STATE": str(WORK / "state")}


def hotsite(*words: str, ok: tuple[int, ...] = (0,)) -> str:
    """Run hotsite until it could see everything; return what it said."""
    deadline = time.monotonic() + STEP_S
    while True:
        try:
            done = subprocess.run([str(HOTSITE), *words], capture_output=True, text=True,
                                  check=False, stdin=subprocess.DEVNULL, timeout=STEP_S,
                                  env=settings())
        except subprocess.TimeoutExpired:
            raise StockError(f"hotsite {' '.join(words)} did not end") from None
        if done.returncode != UNSEEN or UNSEEN in ok or time.monotonic() > deadline:
            break
    if done.returncode not in ok:
        raise StockError(f"hotsite {' '.join(words)} ended with {done.returncode}:\n"
                         f"{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


@contextmanager
def loop() -> Iterator[None]:
    """Have the loop run meanwhile; what it says is kept."""
    with (WORK / "run.log").open("a") as log:
        process = subprocess.Popen([str(HOTSITE), "run", str(ESTATE)], env=settings(),
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)


def edit(file: str, pattern: str, replacement: str) -> None:
    """Change the lines of the specs that match, of which there is at least one."""
    path = ESTATE / file
    text, count = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
    if not count:
        raise StockError(f"{path} has no line like {pattern}")
    path.write_text(text)

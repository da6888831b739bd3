"""Programs that are run at once on this machine, and what they said or why they did not."""

import os
import re
import selectors
import signal
import subprocess
import time

LIMIT_S = 5.0           # for each round of programs: a hung daemon must not hang the answer
LIMIT_BYTES = 24 << 20
VIRSH = ("virsh", "-q", "-c", "qemu:///system")
RECEIVING = "migration statistics are available only on the source host"


class Silent(Exception):
    """A program or daemon did not say what was asked; the text is a sentence."""


class Said:
    """What one program said so far, and in `failure` what went wrong with it."""

    def __init__(self, argv: tuple, picker: selectors.BaseSelector) -> None:
        self.out, self.err, self.status, self.failure = bytearray(), bytearray(), None, ""
        try:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"}, bufsize=0, start_new_session=True)
        except OSError as error:
            self.process, self.failure = None, f"cannot be run: {error.strerror}"
            return
        picker.register(self.process.stdout, selectors.EVENT_READ, (self, self.out))
        picker.register(self.process.stderr, selectors.EVENT_READ, (self, self.err))

    def end(self) -> None:
        """Collect the exit status; what does not end by itself is killed and not waited for."""
        if self.process is None:
            return
        try:
            self.status = self.process.wait(0 if self.failure else 1)
        except subprocess.TimeoutExpired:
            self.failure = self.failure or "closed its output but did not end"
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.stdout.close()
        self.process.stderr.close()


def run_all(programs: dict) -> dict:
    """Run programs (name -> argv) at once and return what each said (name -> Said)."""
    deadline = time.monotonic() + LIMIT_S
    with selectors.DefaultSelector() as picker:
        said = {name: Said(argv, picker) for name, argv in programs.items()}
        while picker.get_map():
            ready = picker.select(deadline - time.monotonic())
            if not ready and time.monotonic() >= deadline:
                for key in picker.get_map().values():
                    key.data[0].failure = f"did not answer within {LIMIT_S:g} s"
                break
            for key, _ in ready:
                program, heard = key.data
                heard += (data := os.read(key.fd, 1 << 16))
                if len(heard) > LIMIT_BYTES:
                    program.failure = f"said more than {LIMIT_BYTES >> 20} MiB"
                    os.killpg(program.process.pid, signal.SIGKILL)
                if not data or len(heard) > LIMIT_BYTES:
                    picker.unregister(key.fileobj)
    for program in said.values():
        program.end()
    return said


def text_of(said: Said, daemon: str) -> str:
    """Return a program's output; Silent when it failed or complained in any way."""
    complaint = [line for line in complaints(said) if not line.endswith(RECEIVING)]
    if complaint and not said.failure:
        raise Silent(f"{daemon} did not answer: {re.sub('^error: ', '', complaint[0])}")
    return output_of(said, daemon)


def output_of(said: Said, daemon: str) -> str:
    """Return a program's output, whatever it warns of; Silent when it failed.

    For programs that do one thing and say by their exit status whether they did.
    """
    if said.failure:
        raise Silent(f"{daemon} {said.failure}")
    if said.status != 0:
        why = (complaints(said) or [f"status {said.status}"])[0]
        raise Silent(f"{daemon} did not answer: {why}")
    try:
        return said.out.decode()
    except UnicodeDecodeError:
        raise Silent(f"{daemon} answered with bytes that are no text") from None


def complaints(said: Said) -> list:
    """Return the lines that a program wrote beside its output."""
    return lines_of(said.err.decode(errors="replace"))


def lines_of(part: str) -> list:
    """Return the lines of a part that are not empty, as they are."""
    return [line.rstrip() for line in part.splitlines() if line.strip()]

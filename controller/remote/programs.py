"""Programs that are run at once on this machine, and what they said or why they did not."""

import contextlib
import os
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
        self.spoke_at, self.stalled = None, False
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
            self.kill()
        self.process.stdout.close()
        self.process.stderr.close()

    def kill(self) -> None:
        """End it and what it started, unless it has ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def run_all(programs: dict, limit_s: float = LIMIT_S, still_s: "float | None" = None,
            known: tuple = ()) -> dict:
    """Run programs (name -> argv) at once and return what each said (name -> Said).

    One that says nothing for `still_s` is ended before the limit: once it has begun to speak, or
    from the start where who answers it is `known` to be there.
    """
    until = time.monotonic() + limit_s
    with selectors.DefaultSelector() as picker:
        said = {name: Said(argv, picker) for name, argv in programs.items()}
        for name in known:
            said[name].spoke_at = time.monotonic()
        while picker.get_map():
            now = time.monotonic()
            for program, end, patience_s in ends_of(picker, until, limit_s, still_s):
                if end <= now:
                    program.failure = f"did not answer within {patience_s:g} s"
                    program.stalled = end < until
                    let_go(program, picker)
            ends = [end for _, end, _ in ends_of(picker, until, limit_s, still_s)]
            for key, _ in picker.select(max(0.0, min(ends) - now)) if ends else ():
                hear(key, picker)
    for program in said.values():
        program.end()
    return said


def ends_of(picker: selectors.BaseSelector, until: float, limit_s: float,
            still_s: "float | None") -> list:
    """Return for each program that still speaks when that must have happened, and its limit."""
    found = []
    for program in {id(key.data[0]): key.data[0] for key in picker.get_map().values()}.values():
        if still_s is None or program.spoke_at is None or program.spoke_at + still_s > until:
            found.append((program, until, limit_s))
        else:
            found.append((program, program.spoke_at + still_s, still_s))
    return found


def hear(key: selectors.SelectorKey, picker: selectors.BaseSelector) -> None:
    """Take what a program said; one that says too much is ended."""
    program, heard = key.data
    if key.fileobj not in picker.get_map():
        return              # it was ended in the same round
    data = os.read(key.fd, 1 << 16)
    heard += data
    program.spoke_at = time.monotonic()
    if len(heard) > LIMIT_BYTES:
        program.failure = f"said more than {LIMIT_BYTES >> 20} MiB"
        let_go(program, picker)
    elif not data:
        picker.unregister(key.fileobj)


def let_go(program: Said, picker: selectors.BaseSelector) -> None:
    """End a program and listen to it no longer."""
    for stream in (program.process.stdout, program.process.stderr):
        if stream in picker.get_map():
            picker.unregister(stream)
    program.kill()


def output_of(said: Said, daemon: str) -> str:
    """Return a program's output, whatever it warns of; Silent when it failed.

    For programs that do one thing and say by their exit status whether they did.
    """
    if said.failure:
        raise Silent(f"{daemon} {said.failure}")
    if said.status != 0:
        told = complaints(said)
        errors = [line[7:] for line in told if line.startswith("error: ")]
        why = (errors or told or [f"status {said.status}"])[0]
        raise Silent(f"{daemon} did not answer: {why}")
    try:
        return said.out.decode()
    except UnicodeDecodeError:
        raise Silent(f"{daemon} answered with bytes that are no text") from None


def complaints(said: Said) -> list:
    """Return the lines that a program wrote beside its output."""
    return lines_of(said.err.decode(errors="replace"))


def lines_of(part: str) -> list:
    """Return the lines of a part that are not empty, as they are.

    Only a newline ends one: a name may hold what else Unicode calls a line's end.
    """
    return [line.rstrip() for line in part.split("\n") if line.strip()]

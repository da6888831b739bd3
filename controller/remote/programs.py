"""Run programs of this machine at once, each with a limit, and return what they wrote.

A daemon that hangs must not hang the answer to the controller. A program ends by itself, or is
killed with all that it started: at the limit, when it writes nothing for `still_s`, or when it
writes too much.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time

LIMIT_S = 5.0           # for each round of programs
LIMIT_BYTES = 24 << 20
VIRSH = ("virsh", "-q", "-c", "qemu:///system")
RECEIVING = "migration statistics are available only on the source host"


class NoAnswer(Exception):
    """A program or daemon did not answer what was asked; the text is a sentence."""


class Output:
    """What one program wrote so far; `failure` says what went wrong with it."""

    def __init__(self, argv: tuple, picker: selectors.BaseSelector) -> None:
        self.out, self.err, self.status, self.failure = bytearray(), bytearray(), None, ""
        self.wrote_at, self.stalled = None, False
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
        """Collect the exit status; a process that does not end is killed and not waited for."""
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
        """Kill the process and what it started, unless it has ended by itself."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def run_all(programs: dict, limit_s: float = LIMIT_S, still_s: "float | None" = None,
            known: tuple = ()) -> dict:
    """Run programs (name -> argv) at once; return the Output of each by name.

    A program that writes nothing for `still_s` is stopped before the limit. That time begins with
    its first output; for those in `known`, whose daemon is known to run, at the start.
    """
    until = time.monotonic() + limit_s
    with selectors.DefaultSelector() as picker:
        outputs = {name: Output(argv, picker) for name, argv in programs.items()}
        for name in known:
            outputs[name].wrote_at = time.monotonic()
        while picker.get_map():
            now = time.monotonic()
            for program, end, patience_s in deadlines_of(picker, until, limit_s, still_s):
                if end <= now:
                    program.failure = f"did not answer within {patience_s:g} s"
                    program.stalled = end < until
                    stop(program, picker)
            ends = [end for _, end, _ in deadlines_of(picker, until, limit_s, still_s)]
            for key, _ in picker.select(max(0.0, min(ends) - now)) if ends else ():
                read_some(key, picker)
    for program in outputs.values():
        program.end()
    return outputs


def deadlines_of(picker: selectors.BaseSelector, until: float, limit_s: float,
                 still_s: "float | None") -> list:
    """Return (program, deadline, seconds allowed) for each program that still runs."""
    found = []
    for program in {id(key.data[0]): key.data[0] for key in picker.get_map().values()}.values():
        if still_s is None or program.wrote_at is None or program.wrote_at + still_s > until:
            found.append((program, until, limit_s))
        else:
            found.append((program, program.wrote_at + still_s, still_s))
    return found


def read_some(key: selectors.SelectorKey, picker: selectors.BaseSelector) -> None:
    """Read some output of a program; stop one that writes too much."""
    program, held = key.data
    if key.fileobj not in picker.get_map():
        return              # it was stopped in the same round
    data = os.read(key.fd, 1 << 16)
    held += data
    program.wrote_at = time.monotonic()
    if len(held) > LIMIT_BYTES:
        program.failure = f"said more than {LIMIT_BYTES >> 20} MiB"
        stop(program, picker)
    elif not data:
        picker.unregister(key.fileobj)


def stop(program: Output, picker: selectors.BaseSelector) -> None:
    """Kill a program and read its output no longer."""
    for stream in (program.process.stdout, program.process.stderr):
        if stream in picker.get_map():
            picker.unregister(stream)
    program.kill()


def output_of(output: Output, daemon: str) -> str:
    """Return what a program wrote to stdout, whatever its warnings; NoAnswer if it failed.

    For programs that do one thing and whose exit status says whether they did it.
    """
    if output.failure:
        raise NoAnswer(f"{daemon} {output.failure}")
    if output.status != 0:
        lines = stderr_lines(output)
        errors = [line[7:] for line in lines if line.startswith("error: ")]
        why = (errors or lines or [f"status {output.status}"])[0]
        raise NoAnswer(f"{daemon} did not answer: {why}")
    try:
        return output.out.decode()
    except UnicodeDecodeError:
        raise NoAnswer(f"{daemon} answered with bytes that are no text") from None


def stderr_lines(output: Output) -> list:
    """Return the lines that a program wrote to stderr."""
    return lines_of(output.err.decode(errors="replace"))


def lines_of(part: str) -> list:
    """Return the lines of a text that are not empty.

    Only a newline ends a line: a name may contain what else Unicode counts as one's end.
    """
    return [line.rstrip() for line in part.split("\n") if line.strip()]

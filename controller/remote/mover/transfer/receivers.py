"""
The receiving processes of a transfer: an ssh to the target host for each stream, or open pipes.

A receiver writes {"ready": true} once it reads its pipe, answers to questions (blocks/asking), and
one line with its result at the end. The first is started before the request is complete, because a
login takes long; how many more are worth their login depends on the round trip, which is measured
on that first connection.

Secrets of a program, above all the one-time key, are passed in memory: a `{name}` in its argv
becomes a path under /proc to an anonymous file with mode 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import re
import socket
import subprocess
import time
from typing import Any, BinaryIO, Dict, List, NamedTuple, Sequence

from mover.errors import MoverError, Refused, TryAgain, Unknown, Unreached
from mover.transfer.blocks.asking import Answers
from mover.transfer.output import MOST_OUTPUT_BYTES, Output

SSH_FAILED = 255            # what ssh exits with when the connection, not the command, failed
PIPE_BYTES = 1 << 20        # fewer context switches between this mover and ssh
_ADD_SEALS, _SEAL_GROW = 1033, 4    # fcntl has the names from Python 3.8 on
_SET_PIPE_SIZE = 1031       # fcntl has the name from Python 3.10 on
MOST_SHOWN = 500
READY = b'{"ready": true}'
PATIENCE_S = 5              # for the reason of a receiver that gave up


class Program(NamedTuple):
    """A receiving process, what it writes to stdout, and the file with its stderr."""

    process: subprocess.Popen[bytes]
    out: Output
    err: BinaryIO


class Receivers:
    """The pipes to the receiving end: write to `fds`, then `finish` returns the answers."""

    def __init__(self, fds: List[int], argv: Sequence[str] = (), files: Sequence[int] = ()
                 ) -> None:
        self.fds = fds
        self._argv, self._files = argv, list(files)
        self._programs: List[Program] = []
        self.answers = Answers()
        self._pipe_bytes = PIPE_BYTES

    def narrow(self, pipe_bytes: int) -> None:
        """
        Make the pipes no larger than this.

        Until the receiver has logged in, what the throttle lets pass piles up in them, and would
        go out at once afterwards.
        """
        down = 1 << (pipe_bytes.bit_length() - 1)      # the kernel would round it up
        self._pipe_bytes = min(down, PIPE_BYTES)
        for fd in self.fds:
            _resize(fd, self._pipe_bytes)

    def widen(self, count: int) -> None:
        """Start receivers until there are so many; nothing to do for pipes that were given."""
        while self._argv and len(self._programs) < count:
            try:
                self._programs.append(_start(self._argv, self.answers))
            except OSError as error:
                self.abort()
                raise Unreached("%s cannot be run: %s" % (self._argv[0], error.strerror)) from None
            pipe = self._programs[-1].process.stdin
            assert pipe is not None, "stdin is a pipe"
            self.fds.append(os.dup(pipe.fileno()))
            _resize(self.fds[-1], self._pipe_bytes)
            pipe.close()

    @property
    def can_answer(self) -> bool:
        """Return whether receivers answer this mover: not through pipes that were given."""
        return bool(self._argv)

    def ready(self) -> bool:
        """Return whether every receiver is ready: this route leads there."""
        return all(_is_ready(program) for program in self._programs)

    def finish(self, limit_s: float) -> List[Dict[str, Any]]:
        """Close the pipes and return what each receiver answered; any failure raises."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        answers = [_answer(program, limit_s) for program in self._programs]
        for fd in self._files:
            os.close(fd)
        self._files = []
        return answers

    def complaint(self, error: MoverError) -> MoverError:
        """Return the receiver's own reason for a broken pipe, else the error as it is."""
        try:
            self.finish(PATIENCE_S)
        except Unknown:
            return error
        except MoverError as reason:
            return reason
        return error

    def abort(self) -> None:
        """Stop the receivers: without an END they publish nothing."""
        for program in self._programs:
            if program.process.poll() is None:
                program.process.kill()


def open_receivers(wanted: Dict[str, Any]) -> Receivers:
    """
    Return the receivers that a request asks for, the first one started.

    Shapes: {"fds": [1]} or {"argv": […], "files": {name: text}}; `count`: see stream_count.
    """
    if "fds" in wanted:
        return Receivers([int(fd) for fd in wanted["fds"]])
    if not wanted.get("argv"):
        raise Refused('"to" names neither descriptors nor a program to send to')
    files = {name: _memory_file(name, text)
             for name, text in sorted(wanted.get("files", {}).items())}
    paths = {"{%s}" % name: "/proc/%d/fd/%d" % (os.getpid(), fd) for name, fd in files.items()}
    argv = [str(word) for word in wanted["argv"]]
    for name, path in paths.items():
        argv = [word.replace(name, path) for word in argv]
    receivers = Receivers([], argv, list(files.values()))
    receivers.widen(1)
    return receivers


def _memory_file(name: str, text: str) -> int:
    fd = os.memfd_create("hotsite-" + name)
    os.fchmod(fd, 0o600)
    os.write(fd, text.encode())
    return fd


def _start(argv: Sequence[str], answers: Answers) -> Program:
    err = os.fdopen(_bounded("hotsite-err"), "w+b")
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err,
                               bufsize=0)
    assert process.stdout is not None, "stdout is a pipe"
    out = os.dup(process.stdout.fileno())
    process.stdout.close()
    return Program(process, Output(out, answers.take, answers.close), err)


def _bounded(name: str) -> int:
    """Return an anonymous file of fixed size; what was not written reads as 0."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, MOST_OUTPUT_BYTES)
    fcntl.fcntl(fd, _ADD_SEALS, _SEAL_GROW)
    return fd


def _is_ready(program: Program) -> bool:
    """Return whether a receiver's output has the ready line, whatever a login shell printed too."""
    return READY in program.out.text().splitlines()


def _resize(pipe: int, size_bytes: int) -> None:
    with contextlib.suppress(OSError):      # it may not grow, or is no pipe
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, size_bytes)


def _answer(program: Program, limit_s: float) -> Dict[str, Any]:
    try:
        status = program.process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise Unknown("the receiving end has not answered for %g s" % limit_s) from None
    if status == 0:
        return _last_json(program.out.rest())
    kinds = {Refused.status: Refused, TryAgain.status: TryAgain, SSH_FAILED: TryAgain}
    error = _last_json(os.pread(program.err.fileno(), MOST_OUTPUT_BYTES, 0).rstrip(b"\0"))
    program.out.rest()
    sentence = error.get("sentence")
    if not sentence and not _is_ready(program):
        raise Unreached(_printable(str(error.get("text") or "it ended with status %d" % status)))
    raise kinds.get(status, Unknown)(_printable(str(sentence or error.get("text"))))


def _printable(text: str) -> str:
    """Return another machine's text, fit for one line."""
    return "".join(c if c.isprintable() else "?" for c in text)[:MOST_SHOWN]


def _last_json(output: bytes) -> Dict[str, Any]:
    lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {"text": lines[-1] if lines else ""}


WINDOW_BYTES = 2 << 20              # that one OpenSSH channel sends within a round trip
WANTED_BYTES_PER_S = 160 << 20      # of a path whose own rate is not known
WORTH_BYTES = 64 << 20              # for one more stream
MOST = 6
CONNECTED_S = 3.0        # for the first receiver to be connected
ANSWER_S = 3.0
ROUND_TRIP = re.compile(r"\bminrtt:([0-9.]+)")


def count_for(round_trip_s: float, total_bytes: int, rate_bps: float = 0) -> int:
    """Return how many streams are worth their logins for so many bytes over such a path."""
    wanted = min(WANTED_BYTES_PER_S, rate_bps / 8) if rate_bps else WANTED_BYTES_PER_S
    needed = math.ceil(wanted * round_trip_s / WINDOW_BYTES)
    return max(1, min(MOST, needed, total_bytes // WORTH_BYTES))


def stream_count(to: Dict[str, Any], total_bytes: int, rate_bps: float) -> int:
    """Return over how many streams to send: as requested, or by the path's round trip."""
    if "count" in to:
        return int(to["count"])
    pays = total_bytes >= 2 * WORTH_BYTES and "address" in to
    round_trip_s = await_round_trip_s(*to["address"][:2]) if pays else 0.0
    return count_for(round_trip_s, total_bytes, rate_bps)


def await_round_trip_s(host: str, port: int) -> float:
    """
    Return the round trip to an address as soon as the first receiver is connected; 0: not in time.

    No connection is made to measure it: OpenSSH 9.8 and later penalise connections that do not
    log in, and would shut us out.
    """
    until = time.monotonic() + CONNECTED_S
    while True:
        found = round_trip_s(host, port)
        if found or time.monotonic() > until:
            return found
        time.sleep(0.05)


def round_trip_s(host: str, port: int) -> float:
    """
    Return the kernel's measure of the round trip of open connections to an address; 0: unknown.

    Source: ss(8), minrtt in milliseconds.
    """
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
        output = subprocess.run(
            ["ss", "-Htin", "dst", "[%s]" % address if ":" in str(address) else str(address),
             "dport", "=", ":%d" % port], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, timeout=ANSWER_S, check=False).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return 0.0
    return min((float(found) / 1000 for found in ROUND_TRIP.findall(output)), default=0.0)

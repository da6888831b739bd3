"""
Where the streams go: descriptors that are open already, or programs (ssh) started for them.

What a program must read but nobody may see, a key above all, is kept in memory: a `{name}` in the
argv becomes a path under /proc to an anonymous file with mode 0600.
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

SSH_FAILED = 255            # what ssh exits with when the connection, not the command, failed
PIPE_BYTES = 1 << 20        # fewer turns between this mover and the receiver
_ADD_SEALS, _SEAL_GROW = 1033, 4    # fcntl has the names from Python 3.8 on
_SET_PIPE_SIZE = 1031       # fcntl has the name from Python 3.10 on
MOST_SAID_BYTES = 1 << 20   # by a receiver: it is kept in memory, and another machine says it
MOST_SHOWN = 500
READY = b'{"ready": true}'
PATIENCE_S = 5              # for a receiver that gave up to say why


class Program(NamedTuple):
    """A receiver that runs, and where what it says is kept."""

    process: subprocess.Popen[bytes]
    out: BinaryIO
    err: BinaryIO


class Outlets:
    """The pipes to the receiving end; `fds` are written to, `finish` hears the answers."""

    def __init__(self, fds: List[int], argv: Sequence[str] = (), kept: Sequence[int] = ()) -> None:
        self.fds = fds
        self._argv, self._kept = argv, list(kept)
        self._programs: List[Program] = []
        self._pipe_bytes = PIPE_BYTES

    def narrow(self, pipe_bytes: int) -> None:
        """
        Let the pipes hold no more, however long a receiver's login takes.

        What a throttle has let pass waits in them, and would go out in one lump after the login.
        """
        down = 1 << (pipe_bytes.bit_length() - 1)      # the kernel would round it up
        self._pipe_bytes = min(down, PIPE_BYTES)
        for fd in self.fds:
            _resize(fd, self._pipe_bytes)

    def widen(self, count: int) -> None:
        """Start so many receivers in all; descriptors that were open already stay as they are."""
        while self._argv and len(self._programs) < count:
            try:
                self._programs.append(_start(self._argv))
            except OSError as error:
                self.abort()
                raise Unreached("%s cannot be run: %s" % (self._argv[0], error.strerror)) from None
            pipe = self._programs[-1].process.stdin
            assert pipe is not None, "stdin is a pipe"
            self.fds.append(os.dup(pipe.fileno()))
            _resize(self.fds[-1], self._pipe_bytes)
            pipe.close()

    def reached(self) -> bool:
        """Return whether every receiver is ready, so that it can be sent to this way."""
        return all(_is_ready(program) for program in self._programs)

    def finish(self, limit_s: float) -> List[Dict[str, Any]]:
        """Close the pipes and return what each receiver answered; any failure raises."""
        for fd in self.fds:
            os.close(fd)
        self.fds = []
        answers = [_answer(program, limit_s) for program in self._programs]
        self._forget()
        return answers

    def complaint(self, error: MoverError) -> MoverError:
        """Return the receiver's own reason for a broken pipe, else the error as it is."""
        try:
            self.finish(PATIENCE_S)
        except Unknown:
            return error
        except MoverError as told:
            return told
        return error

    def abort(self) -> None:
        """Stop the receivers: without an END they publish nothing."""
        for program in self._programs:
            if program.process.poll() is None:
                program.process.kill()

    def _forget(self) -> None:
        for fd in self._kept:
            os.close(fd)
        self._kept = []


def open_outlets(wanted: Dict[str, Any]) -> Outlets:
    """
    Return the outlets that a request asks for, the first receiver started: logins take their time.

    Shapes: {"fds": [1]} or {"argv": […], "files": {name: text}}; `count`: see streams.chosen.
    """
    if "fds" in wanted:
        return Outlets([int(fd) for fd in wanted["fds"]])
    if not wanted.get("argv"):
        raise Refused('"to" names neither descriptors nor a program to send to')
    kept = {name: _keep(name, text) for name, text in sorted(wanted.get("files", {}).items())}
    paths = {"{%s}" % name: "/proc/%d/fd/%d" % (os.getpid(), fd) for name, fd in kept.items()}
    outlets = Outlets([], [_filled(word, paths) for word in wanted["argv"]], list(kept.values()))
    outlets.widen(1)
    return outlets


def _keep(name: str, text: str) -> int:
    fd = os.memfd_create("hotsite-" + name)
    os.fchmod(fd, 0o600)
    os.write(fd, text.encode())
    return fd


def _filled(word: str, paths: Dict[str, str]) -> str:
    for name, path in paths.items():
        word = word.replace(name, path)
    return word


def _start(argv: Sequence[str]) -> Program:
    out, err = (os.fdopen(_bounded("hotsite-" + name), "w+b") for name in ("out", "err"))
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=err, bufsize=0)
    return Program(process, out, err)


def _bounded(name: str) -> int:
    """Return an anonymous file that takes so much and no more; what was not written reads as 0."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, MOST_SAID_BYTES)
    fcntl.fcntl(fd, _ADD_SEALS, _SEAL_GROW)
    return fd


def _said(file: BinaryIO) -> bytes:
    """Return what was written into a bounded file."""
    return os.pread(file.fileno(), MOST_SAID_BYTES, 0).rstrip(b"\0")


def _is_ready(program: Program) -> bool:
    """Return whether a receiver has said that it is; what a login shell says is no word of it."""
    return READY in _said(program.out).splitlines()


def _resize(pipe: int, size_bytes: int) -> None:
    with contextlib.suppress(OSError):      # it may not grow, or is no pipe
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, size_bytes)


def _answer(program: Program, limit_s: float) -> Dict[str, Any]:
    try:
        status = program.process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise Unknown("the receiving end has not answered for %g s" % limit_s) from None
    if status == 0:
        return _last_json(program.out)
    kinds = {Refused.status: Refused, TryAgain.status: TryAgain, SSH_FAILED: TryAgain}
    told = _last_json(program.err)
    sentence = told.get("sentence")
    if not sentence and not _is_ready(program):
        raise Unreached(_printable(str(told.get("text") or "it ended with status %d" % status)))
    raise kinds.get(status, Unknown)(_printable(str(sentence or told.get("text"))))


def _printable(text: str) -> str:
    """Return what another machine says, fit for a line."""
    return "".join(c if c.isprintable() else "?" for c in text)[:MOST_SHOWN]


def _last_json(file: BinaryIO) -> Dict[str, Any]:
    text = _said(file).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return {"text": lines[-1] if lines else ""}


WINDOW_BYTES = 2 << 20
WANTED_BYTES_PER_S = 160 << 20      # of a path whose own rate is not known
WORTH_BYTES = 64 << 20              # for one more stream
MOST = 6
CONNECTED_S = 3.0        # for the login to be connected
ANSWER_S = 3.0
ROUND_TRIP = re.compile(r"\bminrtt:([0-9.]+)")


def count_for(round_trip_s: float, total_bytes: int, rate_bps: float = 0) -> int:
    """Return how many streams carry so much over such a path, at most at a rate."""
    wanted = min(WANTED_BYTES_PER_S, rate_bps / 8) if rate_bps else WANTED_BYTES_PER_S
    needed = math.ceil(wanted * round_trip_s / WINDOW_BYTES)
    return max(1, min(MOST, needed, total_bytes // WORTH_BYTES))


def chosen(to: Dict[str, Any], total_bytes: int, rate_bps: float) -> int:
    """Return how many streams to send over; what whoever asked has said about it counts."""
    if "count" in to:
        return int(to["count"])
    pays = total_bytes >= 2 * WORTH_BYTES and "address" in to
    round_trip_s = waited_for_s(*to["address"][:2]) if pays else 0.0
    return count_for(round_trip_s, total_bytes, rate_bps)


def waited_for_s(host: str, port: int) -> float:
    """
    Return the round trip to an address once something is connected; 0 where nothing soon is.

    The first receiver's login is on its way when this is asked. Nothing is connected for the sake
    of it: an sshd that penalises who does not log in (OpenSSH 9.8 and later) would shut us out.
    """
    until = time.monotonic() + CONNECTED_S
    while True:
        found = measured_s(host, port)
        if found or time.monotonic() > until:
            return found
        time.sleep(0.05)


def measured_s(host: str, port: int) -> float:
    """
    Return the round trip of the connections to an address that are open, as the kernel measures it.

    0 where nothing is connected, or nobody can say: one stream will do then.
    Source: ss(8), minrtt in milliseconds.
    """
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
        told = subprocess.run(
            ["ss", "-Htin", "dst", "[%s]" % address if ":" in str(address) else str(address),
             "dport", "=", ":%d" % port], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, timeout=ANSWER_S, check=False).stdout.decode()
    except (OSError, subprocess.TimeoutExpired):
        return 0.0
    return min((float(found) / 1000 for found in ROUND_TRIP.findall(told)), default=0.0)

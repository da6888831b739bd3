"""How a command gets past the login shell of an account, whatever shell that is.

The request is one constant line, ENTRY, the same for every command of ours. It holds no newline, no
quote, no `!` and no backslash, so that sh, bash, dash, zsh, fish, csh and tcsh all read it alike,
and sudoers, too. The command comes over standard input, before the command's own input:

    WORD                 a random word, which ENTRY prints on both outputs
    exec 'sh' '-c' …     the command, quoted for a POSIX shell, over as many lines as it has
    WORD                 and only once this was read, is anything run

A shell's start-up files may print a greeting or a warning, or end the shell before the command
begins: what comes before the word on an output is theirs. A connection that breaks in the middle of
the command leaves it without its second word, and nothing runs.

An account that is not root runs the same line by `sudo -n`. So one line of sudoers allows all that
we do, and no other; it is root's power all the same (`hotsite sudoers` says so).
"""

import secrets
import shlex
from collections.abc import Callable
from typing import Final

from controller.transport.session import Session

NOISE_BYTES: Final = 64 << 10
"""More than any greeting; the session of a shell that prints more is closed."""
SHELL: Final = "/bin/sh"
# without BASH_ENV and ENV, a command that is itself a shell script reads no start-up file
ENTRY: Final = (
    "set -f; IFS=; read -r w; echo $w; echo $w >&2; unset BASH_ENV ENV;"
    " c=$(while read -r l; do test x$l = x$w && exit 0; printf %s $l; echo; done; exit 1)"
    " && eval $c"
)
"""Nothing is split or expanded (set -f, no IFS), so that it needs no quotes in sudoers either."""
SUDO: Final = ("sudo", "-n")


class FramedStream:
    """One output stream of a command; it opens at the line that holds the command's word."""

    def __init__(self, word: str) -> None:
        self._line = word.encode() + b"\n"
        self.noise = bytearray()
        self.opened = False

    def take(self, data: bytes) -> bytes:
        """Return the part of `data` that is the command's own."""
        if self.opened:
            return data
        self.noise += data
        before, word, own = bytes(self.noise).partition(self._line)
        self.opened = bool(word)
        if self.opened:
            self.noise = bytearray(before)
        return own


class Frame:
    """Wraps one command, and separates its output from its login shell's."""

    def __init__(self, session: Session, *, sudo: bool = False) -> None:
        self.word = f"hotsite-{secrets.token_hex(8)}"
        self._session = session
        self._out, self._err = FramedStream(self.word), FramedStream(self.word)
        self.request = shlex.join(("exec", *(SUDO if sudo else ()), SHELL, "-c", ENTRY))

    def preamble(self, argv: tuple[str, ...]) -> str:
        """Return what is written before the command's own input."""
        return f"{self.word}\nexec {shlex.join(argv)}\n{self.word}\n"

    def take_stdout(self, data: bytes) -> None:
        """Pass the command's own standard output on to the session."""
        self._take(self._out, data, self._session.take_stdout)

    def take_stderr(self, data: bytes) -> None:
        """Pass the command's own standard error on to the session."""
        self._take(self._err, data, self._session.take_stderr)

    def _take(self, stream: FramedStream, data: bytes, pass_on: Callable[[bytes], None]) -> None:
        own = stream.take(data)
        if own:
            pass_on(own)
        too_long = not stream.opened and len(stream.noise) > NOISE_BYTES
        if too_long and not self._session.ended.is_set():
            self._note_noise()
            self._session.overflow()

    def end(self) -> None:
        """Record the end of output; if the word was never printed, the command never began."""
        if not self._out.opened and self._session.status is not None:
            self._note_noise()
        self._session.end()

    def _note_noise(self) -> None:
        said = (self._out.noise + b"\n" + self._err.noise).decode(errors="replace")
        lines = [line.strip() for line in said.split("\n") if line.strip()]
        self._session.noise = lines[-1] if lines else ""

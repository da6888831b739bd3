"""A frame around a command's output that keeps the login shell's own output out.

A shell's start-up files may print a greeting or a warning, or end the shell before the command
begins. So each command first prints a random word; output before that word is the shell's.
"""

import secrets
from collections.abc import Callable
from typing import Final

from controller.transport.session import Session

NOISE_BYTES: Final = 64 << 10
"""More than any greeting; the session of a shell that prints more is closed."""
# without BASH_ENV and ENV, a command that is itself a shell script reads no start-up file
SAY_AND_RUN: Final = 'unset BASH_ENV ENV; echo "$0"; echo "$0" >&2; exec "$@"'


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

    def __init__(self, session: Session) -> None:
        self.word = f"hotsite-{secrets.token_hex(8)}"
        self._session = session
        self._out, self._err = FramedStream(self.word), FramedStream(self.word)

    def around(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return the argv that prints the word, then replaces itself by the command."""
        return ("exec", "sh", "-c", SAY_AND_RUN, self.word, *argv)

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
        said = (self._err.noise + b"\n" + self._out.noise).decode(errors="replace")
        lines = [line.strip() for line in said.split("\n") if line.strip()]
        self._session.noise = lines[-1] if lines else ""

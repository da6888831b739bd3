"""A frame around what a command says: what its login shell says by itself is left outside.

A shell's own files may greet, warn, or end it before the command begins. Each command is told to
say a word first that nobody else can know; what comes before that word is not the command's.
"""

import secrets
from collections.abc import Callable
from typing import Final

from controller.transport.session import Session

NOISE_BYTES: Final = 64 << 10
"""More than any greeting; a shell that says more is hung up on."""
# a command that is a shell script itself reads nobody's start-up file
SAY_AND_RUN: Final = 'unset BASH_ENV ENV; echo "$0"; echo "$0" >&2; exec "$@"'


class Inlet:
    """One stream of a command; it opens at the line that is the command's word."""

    def __init__(self, word: str) -> None:
        self._line = word.encode() + b"\n"
        self.noise = bytearray()
        self.opened = False

    def take(self, data: bytes) -> bytes:
        """Return what of `data` is the command's own."""
        if self.opened:
            return data
        self.noise += data
        before, word, own = bytes(self.noise).partition(self._line)
        self.opened = bool(word)
        if self.opened:
            self.noise = bytearray(before)
        return own


class Frame:
    """What surrounds one command's output."""

    def __init__(self, session: Session) -> None:
        self.word = f"hotsite-{secrets.token_hex(8)}"
        self._session = session
        self._out, self._err = Inlet(self.word), Inlet(self.word)

    def around(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """Return what says the word, and then becomes the command; no shell is left behind it."""
        return ("exec", "sh", "-c", SAY_AND_RUN, self.word, *argv)

    def take_stdout(self, data: bytes) -> None:
        """Pass on what of standard output is the command's."""
        self._take(self._out, data, self._session.take_stdout)

    def take_stderr(self, data: bytes) -> None:
        """Pass on what of standard error is the command's."""
        self._take(self._err, data, self._session.take_stderr)

    def _take(self, inlet: Inlet, data: bytes, pass_on: Callable[[bytes], None]) -> None:
        own = inlet.take(data)
        if own:
            pass_on(own)
        if not inlet.opened and len(inlet.noise) > NOISE_BYTES and not self._session.ended.is_set():
            self._note_noise()
            self._session.overflow()

    def end(self) -> None:
        """Note that nothing more will come; without its word the command never began."""
        if not self._out.opened and self._session.status is not None:
            self._note_noise()
        self._session.end()

    def _note_noise(self) -> None:
        said = (self._err.noise + b"\n" + self._out.noise).decode(errors="replace")
        lines = [line.strip() for line in said.split("\n") if line.strip()]
        self._session.noise = lines[-1] if lines else ""

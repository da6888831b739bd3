"""Output beyond the limits is cut off, whichever way it arrives."""

import asyncio

import pytest

from controller.errors import OutcomeUnknown
from controller.transport import session
from controller.transport.base import SideChannel
from controller.transport.session import Capture, Lines, RelaySource, Session, Talk


class Tap:
    """A pipe that can be turned off."""

    def __init__(self) -> None:
        self.flows = True
        self.closed = False

    def write(self, data: bytes) -> None:
        """Take anything."""

    def write_eof(self) -> None:
        """Take the end."""

    def pause_reading(self) -> None:
        """Stop."""
        self.flows = False

    def resume_reading(self) -> None:
        """Go on."""
        self.flows = True

    def close(self) -> None:
        """Hang up."""
        self.closed = True


def tapped(one: Session) -> Tap:
    """Give a session a pipe."""
    one.pipe = tap = Tap()
    return tap


def poured(one: Session, piece: bytes, tap: Tap, most_bytes: int) -> int:
    """Say the same again and again while it is listened to; return how much was said."""
    said = 0
    while tap.flows and not tap.closed and said < most_bytes:
        one.take_stdout(piece)
        said += len(piece)
    return said


@pytest.mark.parametrize("line", [b"x" * (1 << 20) + b"\n", b"\n"])
def test_lines_that_nobody_takes_are_not_gathered_without_end(line: bytes) -> None:
    async def body() -> None:
        lines = Lines()
        tap = tapped(lines)
        assert poured(lines, line, tap, 64 << 20) <= session.BYTES_WAITING + (2 << 20)
        while lines.waiting:
            assert await lines.next_line() == line[:-1]
        assert tap.flows
        assert lines.waiting_bytes == 0
    asyncio.run(body())


def test_a_line_without_an_end_is_hung_up_on_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REPLY_BYTES", 1 << 20)

    async def body() -> None:
        lines = Lines()
        tap = tapped(lines)
        assert poured(lines, b"x" * 65536, tap, 64 << 20) <= 2 << 20
        talk = Talk("paris-1", "python3", lines)
        assert await talk.receive() is None
        with pytest.raises(OutcomeUnknown, match="said more than 1 MiB in one line"):
            await talk.outcome(1.0)
    asyncio.run(body())


def test_nor_is_one_beside_a_relay_gathered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "REPLY_BYTES", 1 << 20)
    heard: list[str] = []

    async def body() -> None:
        spout = RelaySource(Capture(), SideChannel(heard.append))
        tapped(spout._into)
        tap = tapped(spout)
        spout.take_stderr(b"one\ntw")
        spout.take_stderr(b"o\n")
        for _ in range(64):
            if not tap.closed:
                spout.take_stderr(b"x" * 65536)
        assert tap.closed
        assert spout.overflowed
    asyncio.run(body())
    assert heard == ["one", "two"]

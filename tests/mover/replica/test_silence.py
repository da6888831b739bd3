"""Neither a connection cut without notice nor a senseless stream holds a replica's lock."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mover.errors import Damaged, TryAgain
from mover.image.hashing import SHA256, Hasher
from mover.replica import incoming, receive
from mover.transfer import wire
from mover.transfer.frames import Frame, Mark, Zero
from mover.transfer.pipeline import Packing, Pipeline
from mover.transfer.wire import Hello, Reader, Writer

from tests.ending import kill_all
from tests.mover.replicas import HASHER
from tests.mover.transfers import ATTEMPT, Machine, start_mover
from tests.waiting import wait_until

SIZE = 4 << 20
NONSENSE = [b"[]", b"{}", b"7", b'"x"', b"", b"\xff", b"[" * 100_000, b'{"reached": "x"}',
            b'{"reached": -1}', b'{"reached": true}', b'{"reached": 1e999}']


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A VM with one point, and an incoming for the next."""
    found = Machine(tmp_path, {"vda": SIZE})
    found.cycle()
    found.open("vda", "overlay")
    return found


def greeting(**changes: object) -> Hello:
    """What a sender says first."""
    return Hello("t", "vda", SIZE, HASHER.algorithm, HASHER.secret_id,
                 attempt=ATTEMPT)._replace(**changes)


def is_free(machine: Machine) -> bool:
    """Whether nobody receives for the disk."""
    try:
        with incoming.hold(str(machine.root / "vda"), shared=False):
            return True
    except TryAgain:
        return False


@pytest.mark.parametrize("payload", NONSENSE, ids=lambda payload: payload[:20].decode("latin-1"))
def test_an_end_that_makes_no_sense_ends_the_receiver(machine: Machine, payload: bytes) -> None:
    path = machine.folder / "wire"
    with path.open("wb") as file:
        writer = Writer(file.fileno(), HASHER)
        writer.hello(greeting())
        writer._put(wire.END, 0, 0, payload)
    process = start_mover("receive", machine.root, stdin=path)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2, said
    assert json.loads(said.splitlines()[-1])["error"] == "try again"
    assert is_free(machine)


@pytest.mark.parametrize("payload", [*NONSENSE, *(
    json.dumps(greeting(**wrong)._asdict()).encode() for wrong in (
        {"size_bytes": "4"}, {"size_bytes": -4}, {"size_bytes": 1 << 70}, {"disk": 7},
        {"streams": True}, {"meta": []}, {"transfer": None}, {"attempt": ["x"]}))],
    ids=lambda payload: payload[:60].decode("latin-1"))
def test_a_greeting_that_makes_no_sense_is_damage(payload: bytes) -> None:
    read, write = os.pipe()
    with os.fdopen(write, "wb"), os.fdopen(read, "rb"):
        threading.Thread(target=Writer(write, HASHER)._put,
                         args=(wire.HELLO, 0, 0, payload)).start()
        with pytest.raises(Damaged):
            Reader(read).hello()


@pytest.mark.parametrize("after", ["nothing", "hello", "half a frame"])
def test_a_receiver_that_hears_nothing_lets_go(machine: Machine, monkeypatch: pytest.MonkeyPatch,
                                               after: str) -> None:
    monkeypatch.setattr(wire, "SILENCE_S", 0.05)
    monkeypatch.setattr(wire, "GREETING_S", 0.05)
    read, write = os.pipe()
    with os.fdopen(write, "wb"), os.fdopen(read, "rb"):
        writer = Writer(write, HASHER)
        if after != "nothing":
            writer.hello(greeting())
        if after == "half a frame":
            os.write(write, wire.MAGIC)
        with pytest.raises(TryAgain, match="the connection is dead"):
            receive.receive(str(machine.root), read)
    assert is_free(machine)


def test_a_sender_with_nothing_to_send_says_that_it_is_there(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BEAT_S", 0.0)
    read, write = os.pipe()
    hasher = Hasher(SHA256)
    writer = Writer(write, hasher)
    writer.hello(Hello("t", "vda", SIZE, hasher.algorithm, hasher.secret_id))
    pipeline = Pipeline([writer], Packing(hasher))
    reader = Reader(read)
    reader.hello()
    frames = reader.frames()
    assert [next(frames) for _ in range(3)] == [Mark(0, 0)] * 3
    pipeline.zero(0, SIZE)
    pipeline.end()
    assert [frame for frame in frames if isinstance(frame, Zero)] == [Zero(0, SIZE)]
    os.close(read)
    os.close(write)


class Odd(Writer):
    """Breaks in a way that nobody has thought of."""

    def zero(self, offset: int, length: int) -> None:
        raise LookupError("a fault of ours")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a thread break without its traceback."""
    monkeypatch.setattr(threading, "excepthook", lambda told: None)


@pytest.mark.usefixtures("quiet")
def test_a_sender_that_breaks_ends_the_transfer() -> None:
    pipeline = Pipeline([Odd(-1, Hasher(SHA256))], Packing(Hasher(SHA256)))
    pipeline.zero(0, 65536)
    with pytest.raises(TryAgain, match="nobody has thought of"):
        pipeline.end()


def frames_then(odd: Callable[[], object]) -> Iterator[Frame]:
    """Frames of which the second breaks in a way that nobody has thought of."""
    yield Mark(0, 0)
    odd()


@pytest.mark.usefixtures("quiet")
def test_a_reader_that_breaks_ends_the_receiver() -> None:
    def odd() -> None:
        raise LookupError("a fault of ours")

    with pytest.raises(TryAgain, match="the stream's reader broke"):
        list(receive.ahead(frames_then(odd), 4))


def test_a_new_attempt_ends_the_receivers_of_the_one_before(machine: Machine) -> None:
    hold, older = os.pipe()
    process = start_mover("receive", machine.root, stdin=Path(f"/proc/self/fd/{hold}"))
    Writer(older, HASHER).hello(greeting())
    try:
        wait_until(lambda: not is_free(machine))
        machine.open("vda", "overlay")
        process.wait(60)
        assert process.returncode != 0
    finally:
        kill_all([process.pid] if process.poll() is None else [])
        process.communicate()
        os.close(hold)
        os.close(older)

"""The transport that replays what real programs said."""

import asyncio
import json
from pathlib import Path

import pytest

from controller.errors import Refused
from controller.transport.base import Command, Endpoint, Reply
from controller.transport.recorded import RecordedTransport, Recording, load_transcript

NODE = Endpoint("paris-1", "127.0.0.1", 22, "root", "", "")
DATE = Command(("date",))


def test_recordings_answer_their_commands_in_order_and_the_last_for_ever() -> None:
    async def body() -> list[str]:
        transport = RecordedTransport([Recording(("date",), Reply(0, word, "")) for word in "ab"])
        transport.declare((NODE,))
        return [(await transport.run("paris-1", DATE)).stdout for _ in range(3)]
    assert asyncio.run(body()) == ["a", "b", "b"]


def test_what_was_never_recorded_is_refused() -> None:
    transport = RecordedTransport([])
    transport.declare((NODE,))
    with pytest.raises(Refused, match="no recording of"):
        asyncio.run(transport.run("paris-1", DATE))
    assert transport.told == [("paris-1", DATE)]


def test_answers_are_given_in_order_until_none_is_left() -> None:
    async def body() -> None:
        transport = RecordedTransport([], ["one"])
        transport.declare((NODE,))
        assert await transport.ask("paris-1", "", "q", 1) == "one"
        with pytest.raises(Refused, match="no recorded answer is left"):
            await transport.ask("paris-1", "", "q", 1)
    asyncio.run(body())


def test_a_transcript_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    row = {"argv": ["date"], "exit_status": 1, "stdout": "o", "stderr": "e"}
    path.write_text(json.dumps({"source": "date 9.1", "recordings": [row]}))
    assert load_transcript(path) == (Recording(("date",), Reply(1, "o", "e")),)

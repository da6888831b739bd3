"""Commands that get more input while they run, and commands that feed each other across nodes."""

import pytest

from controller.errors import OutcomeUnknown
from controller.transport.base import Command, Reply, SideChannel, Transport
from controller.transport.keys import one_time_key, pinned_keys
from tests.transport.sshd import Sshd
from tests.transport.test_transports import Use, use

__all__ = ["use"]
ECHO = ("python3", "-I", "-S", "-c", """
import sys
for line in sys.stdin:
    sys.stdout.write("heard " + line); sys.stdout.flush()
sys.stderr.write("no more"); sys.exit(4)
""")


def test_a_conversation_goes_to_and_fro_and_ends_with_status_and_complaint(use: Use) -> None:
    async def body(transport: Transport) -> object:
        async with transport.converse("paris-1", Command(ECHO, "first\n")) as talk:
            heard = [await talk.receive()]
            talk.send("second")
            heard.append(await talk.receive())
            return heard, await talk.outcome(10)
    assert use(body) == (["heard first", "heard second"], Reply(4, "", "no more"))


def test_a_conversation_that_does_not_end_in_time_has_an_unknown_outcome(use: Use) -> None:
    async def body(transport: Transport) -> None:
        async with transport.converse("paris-1", Command(("sleep", "20"))) as talk:
            await talk.outcome(0.1)
    with pytest.raises(OutcomeUnknown, match="did not end within"):
        use(body)


def test_who_leaves_a_conversation_ends_the_command_s_input(use: Use) -> None:
    async def body(transport: Transport) -> object:
        async with transport.converse("paris-1", Command(ECHO, "first\n")) as talk:
            return await talk.receive()
    assert use(body) == "heard first"


def relayed(use: Use, feed: Command, take: Command) -> tuple[Reply, Reply]:
    """Feed one command to another, both on the same node."""
    replies = use(lambda t: t.relay(("paris-1", feed), ("paris-1", take)))
    assert isinstance(replies, tuple)
    return replies


def test_a_relay_carries_every_byte_however_many(use: Use) -> None:
    size = 20 << 20
    feed = Command(("sh", "-c", f"read go; head -c {size} /dev/zero; echo done >&2"), "go\n")
    take = Command(("sh", "-c", "wc -c"))
    sent, got = relayed(use, feed, take)
    assert (sent.exit_status, sent.stderr) == (0, "done\n")
    assert int(got.stdout) == size


def test_beside_a_relay_its_source_is_heard_and_told(use: Use) -> None:
    heard: list[str] = []
    channel = SideChannel(heard.append)

    def answer(line: str) -> None:
        heard.append(line)
        channel.send("faster")
    channel.on_line = answer
    feed = Command(("sh", "-c", "echo slow >&2; read -r word; echo $word"))
    _, got = use(lambda t: t.relay(("paris-1", feed), ("paris-1", Command(("cat",))), channel))
    assert (heard, got.stdout) == (["slow"], "faster\n")


def test_a_sink_that_gives_up_stops_its_source(use: Use) -> None:
    feed = Command(("sh", "-c", "cat /dev/zero"))
    take = Command(("sh", "-c", "head -c 1000 >/dev/null; echo full >&2; exit 2"))
    sent, got = relayed(use, feed, take)
    assert (got.exit_status, got.stderr) == (2, "full\n")
    assert sent.exit_status != 0


def test_a_key_for_one_time_shows_its_private_half_to_nobody(sshd_of_session: Sshd) -> None:
    key = one_time_key()
    assert key.public.startswith("ssh-ed25519 ")
    assert "PRIVATE" in key.private
    assert "PRIVATE" not in repr(key)
    assert all(one.count(" ") == 1 for one in pinned_keys(sshd_of_session.endpoint()))

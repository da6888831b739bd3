"""What every transport that runs real programs does, on this machine and over a real sshd."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import pytest

from controller.errors import OutcomeUnknown, Refused
from controller.transport.base import Command, Reply, Transport
from controller.transport.ssh import SshTransport
from tests.transport.local import LocalTransport
from tests.transport.sshd import Sshd

T = TypeVar("T")
Use = Callable[[Callable[[Transport], Awaitable[object]]], object]

ECHO = """
import sys
for line in sys.stdin.buffer:
    word = line.decode().strip()
    if word == "die": sys.exit(3)
    if word == "cut": sys.stdout.write("half an ans"); sys.stdout.flush(); sys.exit(0)
    if word == "babble":
        while True: sys.stdout.write("x" * 65536)
    if word == "noise":
        sys.stdout.buffer.write(bytes([255, 254, 10])); sys.stdout.flush(); continue
    if word == "silence": continue
    if word == "pid":
        import os
        word = str(os.getpid())
    sys.stdout.write("heard " + word + chr(10)); sys.stdout.flush()
"""
PATIENT = "import sys\nsys.stdout.write('up\\n'); sys.stdout.flush(); sys.stdin.read()\n"


@pytest.fixture(params=["local", "ssh"])
def use(request: pytest.FixtureRequest, sshd_of_session: Sshd) -> Use:
    """Run a test's body with a transport that knows the node paris-1."""
    def run(body: Callable[[Transport], Awaitable[object]]) -> object:
        async def opened() -> object:
            transport: Transport = LocalTransport() if request.param == "local" else SshTransport()
            transport.declare((sshd_of_session.endpoint(),))
            try:
                return await body(transport)
            finally:
                await transport.close()
        return asyncio.run(opened())
    return run


def test_a_command_gets_its_arguments_and_its_input_as_they_are(use: Use) -> None:
    words = ("a b", "$HOME", "'", '"', "", "*", "é", "x\ny", "-n", ";reboot")
    script = "import sys; sys.stdout.write(repr(sys.argv[1:]) + sys.stdin.read())"
    command = Command(("python3", "-I", "-S", "-c", script, *words), input="fed\nto it")
    expected = Reply(0, repr(list(words)) + "fed\nto it", "")
    assert use(lambda t: t.run("paris-1", command)) == expected


def test_a_failure_of_the_command_is_a_reply(use: Use) -> None:
    command = Command(("sh", "-c", "echo out; echo err >&2; exit 7"))
    assert use(lambda t: t.run("paris-1", command)) == Reply(7, "out\n", "err\n")


def test_a_death_by_signal_is_a_reply(use: Use) -> None:
    reply = use(lambda t: t.run("paris-1", Command(("sh", "-c", "kill -9 $$"))))
    assert isinstance(reply, Reply)
    assert reply.exit_status == 137


def test_a_program_that_is_not_there_is_a_reply_with_status_127(use: Use) -> None:
    reply = use(lambda t: t.run("paris-1", Command(("no-such-program-here",), input="x")))
    assert isinstance(reply, Reply)
    assert reply.exit_status == 127


def test_many_commands_run_at_once(use: Use) -> None:
    async def body(transport: Transport) -> list[str]:
        replies = await asyncio.gather(*(
            transport.run("paris-1", Command(("echo", str(n)))) for n in range(8)))
        return [reply.stdout.strip() for reply in replies]
    assert use(body) == [str(n) for n in range(8)]


def test_an_answer_of_a_megabyte_arrives_whole(use: Use) -> None:
    script = "import sys; sys.stdout.write('x' * (1 << 20))"
    command = Command(("python3", "-I", "-S", "-c", script))
    reply = use(lambda t: t.run("paris-1", command))
    assert isinstance(reply, Reply)
    assert reply.stdout == "x" * (1 << 20)


def test_an_undeclared_node_is_refused(use: Use) -> None:
    with pytest.raises(Refused, match="berlin-1 is not a declared"):
        use(lambda t: t.run("berlin-1", Command(("true",))))


def test_a_command_that_does_not_end_has_an_unknown_outcome(use: Use) -> None:
    command = Command(("sleep", "60"), timeout_s=0.3)
    with pytest.raises(OutcomeUnknown, match=r"sleep on paris-1 did not end within 0.3 s"):
        use(lambda t: t.run("paris-1", command))


def test_a_command_that_says_gigabytes_is_cut_off(use: Use) -> None:
    with pytest.raises(OutcomeUnknown, match="yes on paris-1 said more than 32 MiB"):
        use(lambda t: t.run("paris-1", Command(("yes",), timeout_s=60)))


def test_a_helper_answers_many_questions_from_one_process(use: Use) -> None:
    async def body(transport: Transport) -> list[str]:
        return [await transport.ask("paris-1", ECHO, "pid", 10) for _ in range(3)]
    answers = use(body)
    assert isinstance(answers, list)
    assert len(set(answers)) == 1


def test_questions_asked_at_once_get_their_own_answers(use: Use) -> None:
    async def body(transport: Transport) -> list[str]:
        return await asyncio.gather(*(
            transport.ask("paris-1", ECHO, str(n), 10) for n in range(20)))
    assert use(body) == [f"heard {n}" for n in range(20)]


@pytest.mark.parametrize(("word", "sentence"), [
    ("silence", r"paris-1 was asked and did not answer within 0.5 s"),
    ("cut", "the answer of paris-1 was cut off in the middle"),
    ("die", "the script on paris-1 ended with status 3"),
    ("noise", "paris-1 answered with bytes that are no text"),
])
def test_after_a_bad_answer_the_next_question_gets_its_own_answer(
        use: Use, word: str, sentence: str) -> None:
    async def body(transport: Transport) -> str:
        await transport.ask("paris-1", ECHO, "hello", 10)
        with pytest.raises((OutcomeUnknown, Refused), match=sentence):
            await transport.ask("paris-1", ECHO, word, 0.5 if word == "silence" else 20)
        return await transport.ask("paris-1", ECHO, "again", 10)
    assert use(body) == "heard again"


def test_a_helper_that_babbles_is_cut_off(use: Use) -> None:
    with pytest.raises(OutcomeUnknown, match="paris-1 answered with more than 32 MiB"):
        use(lambda t: t.ask("paris-1", ECHO, "babble", 60))


def test_a_helper_that_cannot_be_compiled_is_refused_with_what_python_said(use: Use) -> None:
    with pytest.raises(Refused, match="SyntaxError"):
        use(lambda t: t.ask("paris-1", "this is no program", "x", 10))


def test_a_question_of_two_lines_is_a_mistake_of_ours(use: Use) -> None:
    with pytest.raises(ValueError, match="one line"):
        use(lambda t: t.ask("paris-1", ECHO, "a\nb", 10))


def test_lines_come_as_they_are_said_and_end_with_the_program(use: Use) -> None:
    async def body(transport: Transport) -> list[str]:
        command = Command(("sh", "-c", "echo one; echo two; printf half"))
        return [line async for line in transport.lines("paris-1", command)]
    assert use(body) == ["one", "two"]


def test_a_slow_reader_loses_no_line(use: Use) -> None:
    async def body(transport: Transport) -> int:
        seen = 0
        async for line in transport.lines("paris-1", Command(("seq", "200000"))):
            seen += 1
            assert line == str(seen)
            if seen % 5000 == 0:
                await asyncio.sleep(0)
        return seen
    assert use(body) == 200_000


def test_a_program_that_speaks_for_ever_ends_when_nobody_listens(use: Use) -> None:
    async def body(transport: Transport) -> str:
        command = Command(("sh", "-c", "echo $$; cat >/dev/null; exit 0"))
        async with aclosing(transport.lines("paris-1", command)) as lines:
            pid = await anext(lines)
        while True:
            reply = await transport.run("paris-1", Command(("kill", "-0", pid)))
            if reply.exit_status != 0:
                return "gone"
    assert use(body) == "gone"


def test_a_command_over_a_new_connection_runs(use: Use) -> None:
    reply = use(lambda t: t.run_on_new_connection("paris-1", Command(("echo", "in"))))
    assert reply == Reply(0, "in\n", "")

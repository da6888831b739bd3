"""An answer is that of its own question: late, lost and foreign lines are never taken for it."""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import pytest

from controller.errors import OutcomeUnknown, Unavailable
from controller.providers.node import Node
from controller.replication.mover import Attendant, Mover, is_ready
from controller.replication.source import SourceEnd
from controller.transport.base import Reply
from tests.replication.movers import Hosts

P = ParamSpec("P")


def ran(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test in a loop of its own."""
    @wraps(test)
    def whole(*words: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*words, **named))
    return whole


LOST = {"status": 2, "sentence": "3 clusters are not what was received"}


class LateTalk:
    """A mover that answers truly and in order; nothing is heard before `heard` is set."""

    def __init__(self, *lines: str) -> None:
        self.waiting: deque[str] = deque(lines)
        self.told: list[dict[str, Any]] = []
        self.heard = asyncio.Event()

    def tell(self, line: str) -> None:
        """Answer every question but a settle, of which something was lost."""
        order = json.loads(line)
        self.told.append(order)
        answer = {"failed": LOST} if order["verb"] == "incoming-settle" else {"answer": {}}
        self.waiting.append(json.dumps({"number": order["number"], **answer}))

    async def hear(self) -> str | None:
        """Return the next line once anything may be heard."""
        await self.heard.wait()
        return self.waiting.popleft() if self.waiting else None

    async def outcome(self, timeout_s: float) -> Reply:
        """Return that it ended well."""
        return Reply(0, "", "")


async def ask(attendant: Attendant, verb: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """Ask one question."""
    return await attendant.ask(verb, {}, failed="no point was made", timeout_s=timeout_s)


@ran
async def test_nothing_is_asked_any_more_once_an_answer_was_not_heard_in_time() -> None:
    talk = LateTalk()
    attendant = Attendant("milan-1", talk)
    with pytest.raises(OutcomeUnknown, match="did not answer within"):
        await ask(attendant, "deauthorize", 0.0)
    talk.heard.set()
    for verb in ("incoming-settle", "publish"):
        with pytest.raises(Unavailable, match="was not heard"):
            await ask(attendant, verb)
    assert [order["verb"] for order in talk.told] == ["deauthorize"]


@ran
async def test_nor_once_the_asking_was_given_up() -> None:
    talk = LateTalk()
    attendant = Attendant("milan-1", talk)
    asking = asyncio.create_task(ask(attendant, "incoming-open"))
    while not talk.told:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    talk.heard.set()
    with pytest.raises(Unavailable, match="was not heard"):
        await ask(attendant, "incoming-settle")


@pytest.mark.parametrize("line", [
    '{"answer": {}}', '{"number": 7, "answer": {}}', "Last login: Monday", "[]",
    '{"number": 0, "failed": {"status": 1, "sentence": "no"}}'])
@ran
async def test_a_line_that_answers_another_question_ends_the_session(line: str) -> None:
    talk = LateTalk(line)
    talk.heard.set()
    attendant = Attendant("milan-1", talk)
    with pytest.raises(OutcomeUnknown, match="not understood"):
        await ask(attendant, "incoming-settle")
    with pytest.raises(Unavailable):
        await ask(attendant, "publish")


@ran
async def test_a_failure_that_is_told_ends_nothing() -> None:
    talk = LateTalk()
    talk.heard.set()
    attendant = Attendant("milan-1", talk)
    with pytest.raises(Unavailable, match="are not what was received"):
        await ask(attendant, "incoming-settle")
    assert await ask(attendant, "incoming-drop") == {}


class Copies(LateTalk):
    """The mover that conducts copies, which says what it was given to say."""

    def tell(self, line: str) -> None:
        """Take an order."""
        self.told.append(json.loads(line))


@ran
async def test_the_end_of_an_earlier_copy_is_not_that_of_the_next(mover: Mover) -> None:
    ended = {"reason": "asked", "was": "ended", "incident": ""}
    talk = Copies(json.dumps({"number": 1, "ended": ended}))
    talk.heard.set()
    source = SourceEnd(mover, talk, "no point was made")
    source.ask_begin({})
    assert not (await source.end()).moved
    source.ask_begin({})
    talk.waiting.append(json.dumps({"number": 1, "ended": ended}))
    with pytest.raises(OutcomeUnknown, match="an answer to question 1, not to 3"):
        await source.end()


@pytest.fixture
def mover() -> Mover:
    """A mover of which only the name is asked."""
    return Mover(Node(Hosts(), "paris-1"))


@pytest.mark.parametrize(("lines", "ready"), [
    (('{"ready": true}',), True), (("Welcome to paris-1!", '{"a": 1}', '{"ready": true}'), True),
    (("Welcome to paris-1!",), False), (("hello",) * 200 + ('{"ready": true}',), False)])
@ran
async def test_what_a_login_shell_says_is_no_answer(lines: tuple[str, ...], ready: bool) -> None:
    talk = LateTalk(*lines)
    talk.heard.set()
    assert await is_ready(talk) is ready

"""Each answer belongs to its own question: late, lost and foreign lines are never mixed up."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, ParamSpec

import pytest

from controller.errors import OutcomeUnknown, Unavailable
from controller.providers.node import Node
from controller.replication import mover as movers
from controller.replication import transfer
from controller.replication.mover import Mover, MoverSession, is_ready
from controller.replication.report import Progress
from controller.replication.source_host import ANSWER_LIMITS_S, SourceEnd
from controller.replication.transfer import quiet_limit_s
from controller.transport.base import Command, Reply
from tests.replication.movers import Hosts, action, hands
from tests.replication.movers import transfer as made_transfer

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

    def send(self, line: str) -> None:
        """Answer every question but a settle, of which something was lost."""
        order = json.loads(line)
        self.told.append(order)
        answer = {"failed": LOST} if order["verb"] == "incoming-settle" else {"answer": {}}
        self.waiting.append(json.dumps({"number": order["number"], **answer}))

    async def receive(self) -> str | None:
        """Return the next line once anything may be heard."""
        await self.heard.wait()
        return self.waiting.popleft() if self.waiting else None

    async def outcome(self, timeout_s: float) -> Reply:
        """Return that it ended well."""
        return Reply(0, "", "")


async def ask(session: MoverSession, verb: str, timeout_s: float = 60.0) -> dict[str, Any]:
    """Ask one question."""
    return await session.ask(verb, {}, failed="no point was made", timeout_s=timeout_s)


@ran
async def test_nothing_is_asked_any_more_once_an_answer_was_not_heard_in_time() -> None:
    talk = LateTalk()
    session = MoverSession("milan-1", talk)
    with pytest.raises(OutcomeUnknown, match="did not answer within"):
        await ask(session, "deauthorize", 0.0)
    talk.heard.set()
    for verb in ("incoming-settle", "publish"):
        with pytest.raises(Unavailable, match="was not received"):
            await ask(session, verb)
    assert [order["verb"] for order in talk.told] == ["deauthorize"]


@ran
async def test_nor_once_the_asking_was_given_up() -> None:
    talk = LateTalk()
    session = MoverSession("milan-1", talk)
    asking = asyncio.create_task(ask(session, "incoming-open"))
    while not talk.told:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    talk.heard.set()
    with pytest.raises(Unavailable, match="was not received"):
        await ask(session, "incoming-settle")


@pytest.mark.parametrize("line", [
    '{"answer": {}}', '{"number": 7, "answer": {}}', "Last login: Monday", "[]",
    '{"number": 0, "failed": {"status": 1, "sentence": "no"}}'])
@ran
async def test_a_line_that_answers_another_question_ends_the_session(line: str) -> None:
    talk = LateTalk(line)
    talk.heard.set()
    session = MoverSession("milan-1", talk)
    with pytest.raises(OutcomeUnknown, match="not understood"):
        await ask(session, "incoming-settle")
    with pytest.raises(Unavailable):
        await ask(session, "publish")


@ran
async def test_a_failure_that_is_told_ends_nothing() -> None:
    talk = LateTalk()
    talk.heard.set()
    session = MoverSession("milan-1", talk)
    with pytest.raises(Unavailable, match="are not what was received"):
        await ask(session, "incoming-settle")
    assert await ask(session, "incoming-drop") == {}


class Copies(LateTalk):
    """The mover that conducts copies, which says what it was given to say."""

    def send(self, line: str) -> None:
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


@pytest.mark.parametrize("answer", ["begun", "ended", "dropped"])
@ran
async def test_a_source_that_does_not_answer_is_not_waited_for_for_ever(
        answer: str, mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWER_LIMITS_S, answer, 0.0)
    talk = Copies()
    source = SourceEnd(mover, talk, "no point was made")
    source.ask_begin({})
    with pytest.raises(OutcomeUnknown, match="did not answer within"):
        await {"begun": source.begun, "ended": source.end,
               "dropped": lambda: source.drop_checkpoints(())}[answer]()
    talk.heard.set()    # what comes now may be of any question
    talk.waiting.append(json.dumps({"number": 1, "begun": {}}))
    for ask in (source.begun, source.end):
        with pytest.raises(Unavailable, match="was not received"):
            await ask()


@ran
async def test_a_mover_that_never_says_that_it_is_ready_is_not_waited_for(
        mover: Mover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movers, "READY_S", 0.0)
    async with mover.starting("job", {}, "no point was made") as starting:
        starting._talk = LateTalk()
        with pytest.raises(Unavailable, match="that it is ready; it is tried again"):
            await starting.ready()


class Chatter(Copies):
    """A mover that says for ever how far it is."""

    async def receive(self) -> str | None:
        """Return the same word."""
        await asyncio.sleep(0)
        return '{"progress": {"read_bytes": 1, "total_bytes": 2, "wire_bytes": 1}}'


class Senders(Hosts):
    """Hosts whose sender is another than the played one."""

    def __init__(self, sender: LateTalk) -> None:
        super().__init__()
        self.sender = sender

    @asynccontextmanager
    async def converse(self, node: str, command: Command) -> AsyncIterator[Any]:
        """Give that sender, or a played conversation."""
        async with super().converse(node, command) as talk:
            yield self.sender if command.argv[8] == "send" else talk


@pytest.mark.parametrize(("sender", "patched", "why"), [
    (Copies(), "QUIET_S", "has said nothing"), (Chatter(), "ANSWER_S", "was not there within")])
@ran
async def test_a_mover_that_sends_neither_falls_silent_nor_goes_on_for_ever(
        sender: LateTalk, patched: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, patched, 0.0)
    monkeypatch.setattr(transfer, "time_limit_s",
                        lambda _: 0.0 if patched == "ANSWER_S" else 60.0)
    with pytest.raises(Unavailable, match=f"{why}.*it is tried again"):
        await hands(Senders(sender)).apply(action())


def test_a_slow_rate_leaves_a_mover_the_time_that_its_next_word_takes() -> None:
    assert quiet_limit_s(0.0) == transfer.QUIET_S
    assert quiet_limit_s(1000.0) > transfer.QUIET_S + 8 * (1 << 20) / 1000


@pytest.mark.parametrize("line", [
    '{"progress": {}}', '{"progress": 7}', '{"progress": {"read_bytes": "x"}}', "[]", "no",
    "[" * 100_000])
def test_progress_that_is_none_is_passed_over(line: str) -> None:
    told: list[Progress] = []
    made_transfer(told).on_line(line)
    assert told == []


def test_a_transfer_begins_at_the_rate_of_the_moment_and_hears_of_every_change() -> None:
    sending, told = made_transfer([]), list[str]()
    sending.set_rate(5_000)
    assert sending._at_current_rate({"disk": "vda"}) == {"disk": "vda", "rate_bps": 5_000}
    sending.set_rate(6_000)     # while it is being started
    sending._follow_rate(told.append)
    sending.set_rate(7_000)
    assert told == ['{"rate_bps": 6000}', '{"rate_bps": 7000}']

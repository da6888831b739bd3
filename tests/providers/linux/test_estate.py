"""The real estate as the loop sees it: what answers, errors and silence become."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused, Unavailable
from controller.model.desired import Desired
from controller.model.facts import Absent, Fact, Known, NodeFacts, Unknown
from controller.plan.actions.action import Action
from controller.providers.linux.estate import LinuxEstate
from controller.providers.linux.program import load_program
from controller.source.load import load_folder
from controller.transport.base import Command
from tests.providers.fakes import Scripted

ROOT = Path(__file__).parent.parent.parent.parent
TRANSCRIPTS = ROOT / "tests/transcripts/linux"
HOST = (TRANSCRIPTS / "host.json").read_text()
STANDBY = (TRANSCRIPTS / "standby.json").read_text()
"""A host with replicas and what a crash left; `HOST` was recorded before they were looked at."""
SWITCH = (TRANSCRIPTS / "switch.json").read_text()


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


class Wires(Scripted):
    """Recorded answers in their order, some of which never come, and lines that a test speaks."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[str, str]] = []
        self.spoken: dict[str, asyncio.Queue[str | None]] = {}
        self.opened = 0

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Return the next answer; the word `silence` stands for none."""
        self.asked.append((node, question))
        answer = self.answers.pop(0)
        if answer == "silence":
            raise Unavailable(f"{node} cannot be reached")
        return answer

    async def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Yield what the test speaks; None breaks the line."""
        del command
        self.opened += 1
        queue = self.spoken.setdefault(node, asyncio.Queue())
        while (line := await queue.get()) is not None:
            yield line


@pytest.fixture(scope="module")
def desired() -> Desired:
    """The lab's estate."""
    return load_folder(ROOT / "specs")


def observe(desired: Desired, *answers: str, node: str = "paris-1") -> list[Fact[NodeFacts]]:
    """Return what a poll made of each answer, ten seconds apart."""
    async def body() -> list[Fact[NodeFacts]]:
        clock = Clock()
        estate = LinuxEstate(Wires(*answers), clock)
        await estate.declare(desired)
        seen = []
        for _ in answers:
            seen.append(await estate.observe(node))
            clock.now_s += 10
        await estate.close()
        return seen
    return asyncio.run(body())


def altered(answer: str, **sections: object) -> str:
    """Return an answer with other sections."""
    plain = json.loads(answer)
    plain["sections"].update(sections)
    return json.dumps(plain)


def value_of(fact: Fact[Any]) -> Any:
    """Return a known value."""
    assert isinstance(fact, Known), fact
    return fact.value


def test_a_hosts_answer_becomes_facts_as_old_as_the_question(desired: Desired) -> None:
    [fact] = observe(desired, HOST)
    facts = value_of(fact)
    assert isinstance(fact, Known)
    assert fact.observed_at == 1000.0
    assert facts.name == "paris-1"
    assert facts.versions["libvirt"] == "9.0.0"
    assert value_of(facts.hardware).memory_bytes == 2 << 30
    assert {"mail", "web", "files", "tmp"} <= set(value_of(facts.domains))
    assert set(value_of(facts.pools)) == {"default"}
    assert "up0" in value_of(facts.bridges)["br0"].ports


def test_a_switch_has_no_domains_and_is_not_asked_for_any(desired: Desired) -> None:
    [fact] = observe(desired, SWITCH, node="paris-sw")
    facts = value_of(fact)
    assert facts.domains == Absent(1000.0)
    assert facts.pools == Absent(1000.0)
    assert facts.replicas == facts.leftovers == Absent(1000.0)
    assert value_of(facts.bridges)["br0"].rstp_enabled


def test_a_hosts_replicas_leftovers_and_checkpoints_become_facts(desired: Desired) -> None:
    facts = value_of(observe(desired, STANDBY)[0])
    replicas = {one.machine: one for one in value_of(facts.replicas).values()}
    assert set(replicas) == {"sql", "files", ""}
    newest = replicas["sql"].newest
    assert newest is not None
    assert (newest.sequence, newest.checkpoint, newest.started_at, newest.damaged_clusters) == (
        3, "hotsite-000003", 1795384900.0, 1)
    assert replicas["files"].lost_files == ("vda/rp-000002.qcow2",)
    assert "state.json is not the state of a replica" in replicas[""].unreadable
    assert [str(one.kind) for one in value_of(facts.leftovers)] == [
        "job", "key", "program", "scratch"]
    assert value_of(facts.domains)["mail"].checkpoints == ("hotsite-000001",)
    assert value_of(facts.domains)["web"].checkpoints == ()


def test_a_host_without_libvirt_has_no_replicas_and_one_that_says_nothing_may_have_some(
        desired: Desired) -> None:
    gone = {"absent": True}
    before, without, silent = observe(
        desired, HOST, altered(HOST, replicas=gone, leftovers=gone),
        altered(STANDBY, replicas={"error": "/srv/hotsite-replicas cannot be read: I/O error"}))
    for part in ("replicas", "leftovers"):
        assert isinstance(getattr(value_of(before), part), Unknown)
        assert isinstance(getattr(value_of(without), part), Absent)
    unknown = value_of(silent).replicas
    assert isinstance(unknown, Unknown)
    assert unknown.reason == "paris-1: /srv/hotsite-replicas cannot be read: I/O error"


@pytest.mark.parametrize("section", [
    {"digest": "0", "text": "garbage"}, {"digest": "0", "text": "{}"}, {"digest": "0", "text": ""},
    {"digest": "0", "text": '[{"uuid": 1}]'}, {"digest": "0", "text": '[{"kind": "disk"}]'},
    {"error": "libvirt did not answer"}, {"absent": True},
])
@pytest.mark.parametrize("part", ["replicas", "leftovers"])
def test_replicas_that_cannot_be_seen_are_remembered_not_gone(
        desired: Desired, part: str, section: dict[str, object]) -> None:
    first, second = observe(desired, STANDBY, altered(STANDBY, **{part: section}))
    fact = getattr(value_of(second), part)
    assert isinstance(fact, Unknown)
    assert fact.last == value_of(getattr(value_of(first), part))
    assert fact.last_at == 1000.0


def test_what_was_sent_once_is_not_asked_for_again_and_stays_known(desired: Desired) -> None:
    same = altered(HOST, **{
        name: {"digest": part["digest"], "same": True}
        for name, part in json.loads(HOST)["sections"].items()})

    async def body() -> tuple[list[Any], list[dict[str, Any]]]:
        wires = Wires(HOST, same)
        estate = LinuxEstate(wires, Clock())
        await estate.declare(desired)
        seen = [value_of(await estate.observe("paris-1")) for _ in range(2)]
        await estate.close()
        return seen, [json.loads(question) for _, question in wires.asked]

    (first, second), questions = asyncio.run(body())
    assert questions[0].pop("waking_s") > 0
    assert questions[0] == {
        "want": ["domains", "pools", "bridges", "interfaces", "replicas", "leftovers",
                 "capabilities", "records", "guard", "grantor", "serving"], "known": {}}
    assert set(questions[1]["known"]) == {"domains", "pools", "bridges"}
    assert value_of(second.domains) is value_of(first.domains)


def test_silence_is_unknown_and_remembers_what_was_last_seen(desired: Desired) -> None:
    known, first, second, back = observe(desired, HOST, "silence", "silence", HOST)
    for silence in (first, second):
        assert isinstance(silence, Unknown)
        assert silence.reason == "paris-1 cannot be reached"
        assert silence.since_at == 1010.0
        assert silence.last == value_of(known)
        assert silence.last_at == 1000.0
    assert isinstance(back, Known)


@pytest.mark.parametrize("garbage", [
    "", "garbage", "{}", "[]", "null", HOST[: len(HOST) // 2], '{"sections": 3}',
    json.dumps({**json.loads(HOST), "now": "soon"}),
    json.dumps({**json.loads(HOST), "hardware": {}}),
])
def test_an_answer_that_is_not_understood_is_unknown(desired: Desired, garbage: str) -> None:
    known, fact = observe(desired, HOST, garbage)
    assert isinstance(fact, Unknown)
    assert fact.reason.startswith("paris-1 answered with something that is not understood")
    assert len(fact.reason) < 300
    assert fact.last == value_of(known)


@pytest.mark.parametrize("section", [
    {"error": "libvirt did not answer within 5 s"}, {"digest": "0", "text": "garbage"},
    {"digest": "0", "text": '[{"name": 1}]'}, {"digest": "0", "text": "3"},
    {"digest": "never sent", "same": True}, {"text": "[]"}, {},
])
def test_a_section_that_fails_is_unknown_alone(
        desired: Desired, section: dict[str, object]) -> None:
    first, second, third = observe(desired, HOST, *[altered(HOST, domains=section)] * 2)
    good = value_of(value_of(first).domains)
    for fact in (second, third):
        domains = value_of(fact).domains
        assert isinstance(domains, Unknown)
        assert domains.reason.startswith("paris-1: ")
        assert (domains.since_at, domains.last, domains.last_at) == (1010.0, good, 1000.0)
        assert isinstance(value_of(fact).pools, Known)


def test_a_section_that_is_missing_from_the_answer_is_unknown_not_absent(desired: Desired) -> None:
    plain = json.loads(HOST)
    del plain["sections"]["domains"]
    [fact] = observe(desired, json.dumps(plain))
    assert isinstance(value_of(fact).domains, Unknown)


def test_a_program_that_is_not_installed_makes_its_section_absent(desired: Desired) -> None:
    [fact] = observe(desired, altered(HOST, domains={"absent": True}))
    assert value_of(fact).domains == Absent(1000.0)


def test_a_program_that_went_takes_no_domain_along(desired: Desired) -> None:
    before, after = observe(desired, HOST, altered(HOST, domains={"absent": True}))
    known, gone = value_of(before).domains, value_of(after).domains
    assert isinstance(known, Known)
    assert isinstance(gone, Unknown)
    assert (gone.last, "put it back" in gone.reason) == (known.value, True)


def test_an_undeclared_node_is_unknown(desired: Desired) -> None:
    [fact] = observe(desired, HOST, node="berlin-1")
    assert fact == Unknown("berlin-1 is not a declared node", 1000.0)


def test_the_clocks_offset_leaves_out_the_time_that_the_answer_took(desired: Desired) -> None:
    clock = Clock()

    class Slow(Wires):
        """A host that works two seconds on an answer, half a second away."""

        async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
            """Take three seconds in all."""
            clock.now_s += 3.0
            return await super().ask(node, program, question, timeout_s)

    async def body() -> Any:
        times = {"began": 1000.5 + 42, "now": 1002.5 + 42}
        estate = LinuxEstate(Slow(json.dumps({**json.loads(HOST), **times})), clock)
        await estate.declare(desired)
        return value_of(await estate.observe("paris-1"))

    facts = asyncio.run(body())
    assert facts.clock_offset_s == pytest.approx(42.0)
    assert facts.clock_error_s == pytest.approx(0.5)


def test_a_host_is_given_time_to_wake_until_it_has_answered_once(desired: Desired) -> None:
    given, waking = [], []

    class Waking(Wires):
        """A host whose first answers do not come in time."""

        async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
            """Note how long it is waited for."""
            given.append(timeout_s)
            waking.append(json.loads(question).get("waking_s", 0.0))
            return await super().ask(node, program, question, timeout_s)

    async def body() -> None:
        estate = LinuxEstate(Waking("silence", HOST, "silence", HOST), Clock())
        await estate.declare(desired)
        for _ in range(4):
            await estate.observe("paris-1")

    asyncio.run(body())
    assert given[0] == given[1] > given[2] == given[3]
    assert waking[0] == waking[1] > waking[2] == waking[3] == 0.0
    assert all(libvirt < all_ for libvirt, all_ in zip(waking, given, strict=True))


def test_an_action_that_nobody_can_do_is_refused(desired: Desired) -> None:
    async def body() -> None:
        estate = LinuxEstate(Wires(), Clock())
        await estate.declare(desired)
        await estate.apply(Action(target="Host/x", node="paris-1", reason="because"))

    with pytest.raises(Refused, match="nothing here can do"):
        asyncio.run(body())


def test_news_name_the_node_when_it_speaks_and_when_its_line_breaks_and_comes_back(
        desired: Desired) -> None:
    async def body() -> int:
        wires = Wires()
        estate = LinuxEstate(wires, Clock())
        await estate.declare(desired)
        news = estate.watch()
        first = asyncio.ensure_future(anext(news))
        while "paris-2" not in wires.spoken:
            await asyncio.sleep(0)
        wires.spoken["paris-2"].put_nowait("changed")
        assert await first == "paris-2"
        wires.spoken["paris-2"].put_nowait(None)
        assert await anext(news) == "paris-2"
        wires.spoken["paris-2"].put_nowait("changed")  # heard by the line that is opened again
        assert await anext(news) == "paris-2"
        await estate.close()
        return wires.opened

    assert asyncio.run(body()) == 7


def test_the_programs_that_are_sent_to_hosts_come_with_the_package() -> None:
    for name in ("facts.py", "watch.py"):
        compile(load_program(name), name, "exec")

"""A drill's conversation: what its mover is asked, and what is made of what it says."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.replica import DrilledMachine, DrillReplica
from controller.providers.node import Node
from controller.replication.mover import Mover
from controller.replication.points import drill as module
from controller.replication.points.drill import drill
from controller.transport.base import Reply
from tests.providers.fakes import Local
from tests.replication.movers import PATH, UUID

PROVEN = {"machine": "sql", "outcome": "proven", "sentence": "its guest agent answers",
          "boot_s": 0.52, "health_s": 2.91, "left_out": ["its hostdev"]}


class Talk:
    """A conversation that says these lines, and then ends so."""

    def __init__(self, lines: list[Any], ended: Reply) -> None:
        self.lines, self.ended = [json.dumps(line) for line in lines], ended

    async def receive(self) -> str | None:
        """Return the next line."""
        return self.lines.pop(0) if self.lines else None

    async def outcome(self, timeout_s: float) -> Reply:
        """Return how it ended."""
        return self.ended


class Played(Mover):
    """A mover that plays one drill; `asked` is its request."""

    def __init__(self, *lines: Any, status: int = 0, sentence: str = "") -> None:
        super().__init__(Node(Local({}), "milan-1"))
        self.talk = Talk([*lines], Reply(status, "", json.dumps({"sentence": sentence})))
        self.asked: dict[str, Any] = {}

    @asynccontextmanager
    async def starting(self, verb: str, request: dict[str, Any] | None,
                       failed: str) -> AsyncIterator[Any]:
        """Begin the drill."""
        assert verb == "drill"
        self.asked = request or {}
        yield self

    async def ready(self) -> Any:
        """Return the conversation."""
        return self.talk


def drilled(machine: str = "sql", **more: Any) -> DrilledMachine:
    """One VM of a drill."""
    return DrilledMachine(machine=machine, uuid=UUID, path=PATH, sequence=12,
                          memory_bytes=1 << 30, content="c0", agent=True, boots_s=10,
                          without=("vdb",), **more)


def held(mover: Mover, *others: DrilledMachine, absent: str = "") -> str:
    """Hold a drill of sql, and of others with it."""
    return asyncio.run(drill(mover, DrillReplica(
        target="Drill/sql", node="milan-1", reason="", machines=(drilled(), *others),
        estate="lab", limit_s=70, grow_bytes=1 << 30, by="ann", absent=absent)))


def test_what_came_of_it_is_told_with_its_times() -> None:
    mover = Played({"started": "sql", "after_s": 0.5}, {"drilled": [PROVEN]})
    assert held(mover) == (
        "restore point 12 of sql on milan-1 is proven: its guest agent answers (it ran after 0.5 s,"
        " was proven after 2.9 s); not in it: its hostdev")
    assert mover.asked["limit_s"] == 70
    assert mover.asked["machines"][0]["health"] == {
        "agent": True, "tcp": None, "ping": False, "boots_s": 10}
    assert mover.asked["machines"][0]["without"] == ["vdb"]


@pytest.mark.parametrize(("status", "error"), [(1, Refused), (2, Unavailable),
                                               (137, OutcomeUnknown)])
def test_a_mover_that_ends_early_says_why(status: int, error: type[Exception]) -> None:
    with pytest.raises(error, match="restore point 12 of sql was not drilled.*: no room"):
        held(Played({"started": "sql"}, status=status, sentence="no room"))


@pytest.mark.parametrize("lines", [[{"drilled": []}], [{"drilled": [{"outcome": "fine"}]}],
                                   [{"drilled": [PROVEN | {"machine": "web"}]}],
                                   [{"drilled": None}], [{"drilled": [{**PROVEN, "boot_s": "x"}]}]])
def test_what_is_not_understood_is_looked_at_again(lines: list[Any]) -> None:
    with pytest.raises(OutcomeUnknown, match="what came of it is not understood"):
        held(Played(*lines))


def test_a_large_group_has_time_to_be_started_and_ended_one_after_another(
        monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Talk):
        async def receive(self) -> str | None:
            await asyncio.sleep(0.2)
            return await super().receive()

    monkeypatch.setattr(module, "CLEAR_S", -70.0)       # what remains of the limit: nothing
    told = [PROVEN | {"machine": name} for name in ("sql", "web")]
    mover = Played()
    mover.talk = Slow([{"drilled": told}], Reply(0, "", ""))
    assert "of web on milan-1 is proven" in held(mover, drilled("web"))
    mover.talk = Slow([{"drilled": told[:1]}], Reply(0, "", ""))
    with pytest.raises(OutcomeUnknown, match="did not say within 0 s"):
        held(mover)


def test_a_group_is_asked_for_at_once_and_each_of_it_is_told_of() -> None:
    web = PROVEN | {"machine": "web", "outcome": "booted", "sentence": "it runs", "health_s": None,
                    "left_out": []}
    mover = Played({"drilled": [web, PROVEN]})
    assert held(mover, drilled("web"), absent="db, whose replica is on milan-2") == (
        "restore point 12 of sql on milan-1 is proven: its guest agent answers (it ran after 0.5 s,"
        " was proven after 2.9 s); not in it: its hostdev; restore point 12 of web on milan-1 is"
        " booted: it runs (it ran after 0.5 s); without db, whose replica is on milan-2")
    assert [one["machine"] for one in mover.asked["machines"]] == ["sql", "web"]
    assert mover.asked["absent"] == "db, whose replica is on milan-2"
    with pytest.raises(Refused, match="of sql and restore point 12 of web were not drilled: full"):
        held(Played(status=1, sentence="full"), drilled("web"))

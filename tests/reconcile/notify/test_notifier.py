"""The notifier beside a loop over a simulated estate, on virtual time, with played hands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from controller.alerting.message import Message
from controller.errors import ActionError, JournalUnavailable, Unavailable
from controller.model.condition import ConditionType, Status
from controller.model.desired import Desired
from controller.model.notify.spec import HeartbeatSpec, NotifySpec, ReceiverSpec
from controller.plan.survey.context import Suspension
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.notify.notifier import Notifier
from controller.reconcile.report.event import EventKind
from controller.reconcile.tasks import cancel
from controller.store.store import Store
from tests.reconcile.stage import Show, lab, playing, reporting, with_estate

PROGRAM = {"exec": {"command": ["/bin/true"]}}


class Hands:
    """Keeps what was sent; each receiver can be down."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message]] = []
        self.tries: list[tuple[str, float]] = []
        self.down: dict[str, Exception] = {}
        self.hangs: set[str] = set()
        self.beats: list[float] = []
        self.beat_fault: ActionError | None = None

    async def send(self, receiver: ReceiverSpec, message: Message) -> str:
        """Take a message, or not."""
        self.tries.append((receiver.name, epoch_clock()))
        if receiver.name in self.hangs:
            await asyncio.Event().wait()
        if (error := self.down.get(receiver.name)) is not None:
            raise error
        self.sent.append((receiver.name, message))
        return ""

    async def beat(self, _: HeartbeatSpec) -> None:
        """Take a sign of life, or not."""
        if self.beat_fault is not None:
            raise self.beat_fault
        self.beats.append(epoch_clock())

    def to(self, name: str) -> list[str]:
        """Return the subjects that a receiver got."""
        return [message.subject for receiver, message in self.sent if receiver == name]


def telling(desired: Desired, *names: str, **more: Any) -> Desired:
    """Return specs that have somebody told."""
    spec = {"receivers": [{"name": name, **PROGRAM} for name in names], **more}
    return with_estate(desired, notify=NotifySpec.model_validate(spec))


@asynccontextmanager
async def told(show: Show, hands: Hands, store: Store | None = None) -> AsyncIterator[Notifier]:
    """Run a notifier beside a loop."""
    notifier = Notifier(show.loop, store or show.store, show.stage.clock, hands.send, hands.beat)
    running = asyncio.create_task(show.loop.forever("telling people", notifier.run))
    try:
        yield notifier
    finally:
        await cancel(running)


def notified(show: Show) -> tuple[Status, str]:
    """Return the condition Notified."""
    (found,) = (one for one in show.store.conditions() if one.type is ConditionType.NOTIFIED)
    return found.status, found.message


def play(scene: Callable[[Show, Hands], Awaitable[None]], desired: Desired | None = None,
         **more: Any) -> None:
    """Run a scene with the receivers a and b, in an estate that heals nothing by itself."""
    async def act() -> None:
        hands = Hands()
        specs = desired or telling(reporting(lab()), "a", "b", **more)
        async with playing(specs) as show, told(show, hands):
            await show.settled()
            await asyncio.sleep(90)
            assert hands.sent == []
            await scene(show, hands)

    run_virtual(act())


def test_a_receiver_that_is_down_for_an_hour_gets_it_late_and_the_other_hears_of_that() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        hands.down["b"] = Unavailable("the webhook of b cannot be reached")
        show.strike("kill paris-1 sql")
        await asyncio.sleep(3600)
        assert hands.to("a")[0].startswith("PAGE: sql is down")
        assert any("b cannot be told what is wrong" in subject for subject in hands.to("a"))
        status, sentence = notified(show)
        assert status is Status.FALSE
        assert sentence.startswith("b: the webhook of b cannot be reached; so since ")
        assert len([at for name, at in hands.tries if name == "b"]) < 25
        del hands.down["b"]
        await asyncio.sleep(700)
        first = next(message for name, message in hands.sent if name == "b")
        assert first.subject.startswith("PAGE: sql is down")
        assert first.text.startswith("Late: this was written ")
        assert notified(show)[0] is Status.TRUE
        assert not any("b cannot be told" in subject for subject in hands.to("b"))

    play(scene)


def test_a_receiver_that_never_answers_holds_up_no_other_and_nothing_else() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        hands.hangs.add("a")
        show.strike("kill paris-1 sql")
        await show.until(lambda: len(hands.to("b")) == 1)
        show.strike("kill paris-1 mail")
        await show.until(lambda: len(hands.to("b")) == 2, 700)
        assert [name for name, _ in hands.tries].count("a") == 1

    play(scene)


def test_a_bug_in_the_hands_is_reported_and_the_letter_waits() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        hands.down["a"] = ZeroDivisionError("with a secret in it")
        show.strike("kill paris-1 sql")
        await show.until(lambda: bool(show.told(EventKind.FAULT)))
        await asyncio.sleep(1800)
        assert len([name for name, _ in hands.tries if name == "a"]) < 20
        assert len(hands.to("b")) >= 1
        assert "secret" not in notified(show)[1]
        hands.down.clear()
        await show.until(lambda: bool(hands.to("a")), 700)

    play(scene)


class FullStore(Store):
    """A store whose disk can be full."""

    full = False

    def save_receiver(self, *words: Any, **more: Any) -> None:
        """Refuse while the disk is full."""
        self._check()
        super().save_receiver(*words, **more)

    def note(self, *words: Any, **more: Any) -> int:
        """Refuse while the disk is full."""
        self._check()
        return super().note(*words, **more)

    def save_status(self, *words: Any, **more: Any) -> None:
        """Refuse while the disk is full."""
        self._check()
        super().save_status(*words, **more)

    def _check(self) -> None:
        if self.full:
            raise JournalUnavailable("the disk is full: free some space")


def test_a_journal_that_cannot_be_written_wakes_somebody_and_stops_the_sign_of_life() -> None:
    async def act() -> None:
        hands, store = Hands(), FullStore.open(":memory:")
        desired = telling(reporting(lab()), "a", heartbeat={"url": "http://127.0.0.1:1/"})
        async with playing(desired, store=store) as show, told(show, hands, store):
            await show.settled()
            await asyncio.sleep(200)
            assert len(hands.beats) in {3, 4}
            store.full = True
            await asyncio.sleep(120)
            assert hands.to("a") == [
                "PAGE: the controller cannot write its journal: it does nothing [lab]"]
            before = len(hands.beats)
            await asyncio.sleep(120)
            assert len(hands.beats) == before
            store.full = False
            await asyncio.sleep(1000)
            assert len(hands.beats) > before
            assert hands.to("a")[1].startswith("OVER: the controller cannot write")
            assert list(store.receivers()) == ["a"]

    run_virtual(act())


def test_a_loop_that_decides_nothing_wakes_somebody_and_gives_no_sign_of_life(
        monkeypatch: pytest.MonkeyPatch) -> None:
    async def act() -> None:
        hands = Hands()
        desired = telling(reporting(lab()), "a", heartbeat={"url": "http://127.0.0.1:1/"})
        async with playing(desired) as show, told(show, hands):
            await show.settled()

            def explode(*_: object) -> None:
                raise ZeroDivisionError("a bug")

            monkeypatch.setattr("controller.reconcile.decide.planner.compute", explode)
            await asyncio.sleep(600)
            assert hands.to("a") == ["PAGE: the controller decides nothing [lab]"]
            assert max(hands.beats) < epoch_clock() - 300

    run_virtual(act())


def test_after_a_restart_nobody_is_told_twice_and_what_waited_goes_on() -> None:
    async def act() -> None:
        hands, desired = Hands(), telling(reporting(lab()), "a", "b")
        store = Store.open(":memory:")
        hands.down["b"] = Unavailable("gone")
        async with playing(desired, store=store) as show:
            async with told(show, hands):
                await show.settled()
                show.strike("kill paris-1 sql")
                await show.until(lambda: len(hands.to("a")) == 1)
                await asyncio.sleep(20)
            hands.down.clear()
            async with told(show, hands):
                await asyncio.sleep(600)
                assert len(hands.to("a")) == 1
                assert len(hands.to("b")) == 1
            async with told(show, hands):
                show.strike("start paris-1 sql")
                await show.until(lambda: hands.to("a")[-1].startswith("OVER: sql is down"), 1300)

    run_virtual(act())


@pytest.mark.parametrize("scope", ["VirtualMachine/sql", "Host/paris-1", "Site/paris",
                                   "Estate/lab"])
def test_what_is_suspended_wakes_nobody_until_the_pause_ends(scope: str) -> None:
    async def scene(show: Show, hands: Hands) -> None:
        show.store.suspend(Suspension(scope, "ann", "new disks", epoch_clock() + 600))
        show.loop.reread()
        show.strike("kill paris-1 sql")
        await asyncio.sleep(500)
        assert not any("sql" in message.text for _, message in hands.sent)
        await asyncio.sleep(200)
        assert any(subject.startswith("PAGE: sql is down") for subject in hands.to("a"))

    play(scene)


def test_what_is_wrong_still_is_told_again_after_its_time() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        show.strike("kill paris-1 sql")
        await asyncio.sleep(4 * 3600 + 400)
        assert [subject.partition(":")[0] for subject in hands.to("a")] == ["PAGE", "STILL PAGE"]

    play(scene)


def test_a_lost_site_is_one_message_that_says_what_follows() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        show.strike("site paris cut")
        await asyncio.sleep(600)
        assert len(hands.to("a")) <= 2
        texts = [message.text for name, message in hands.sent if name == "a"]
        assert any("follow from what happened to paris" in text for text in texts)
        assert "paris" in hands.to("a")[0]

    play(scene)


def test_a_sign_of_life_that_does_not_arrive_is_told() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        hands.beat_fault = Unavailable("the heartbeat's server answers 500")
        await asyncio.sleep(300)
        assert hands.to("a") == ["ticket: the controller's sign of life does not arrive [lab]"]
        assert "the heartbeat: the heartbeat's server answers 500" in notified(show)[1]

    play(scene, heartbeat={"url": "http://127.0.0.1:1/", "every": "60s"})


def test_a_receiver_that_is_not_declared_any_more_is_forgotten() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        hands.down["b"] = Unavailable("gone")
        show.strike("kill paris-1 sql")
        await asyncio.sleep(60)
        await show.loop.set_desired(telling(reporting(lab()), "a"))
        await asyncio.sleep(100)
        assert list(show.store.receivers()) == ["a"]
        tries = len(hands.tries)
        await asyncio.sleep(600)
        assert len(hands.tries) == tries

    play(scene)


def test_a_site_that_is_off_and_paused_wakes_nobody() -> None:
    async def scene(show: Show, hands: Hands) -> None:
        show.store.suspend(Suspension("Site/paris", "ann", "no power today", epoch_clock() + 7200))
        show.loop.reread()
        show.strike("site paris cut")
        await asyncio.sleep(3600)
        assert not any(message.severity == "page" for _, message in hands.sent)

    play(scene)

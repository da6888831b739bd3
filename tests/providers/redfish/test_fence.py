"""The protocol of a fence, on virtual time: scripts of what a BMC says, second by second."""

import asyncio
from collections.abc import Callable

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.failover.power import PowerFacts
from controller.providers.redfish.fence import Fence
from controller.providers.redfish.power_watch import PowerWatch, Reading
from controller.providers.simulated.virtual_time import run_virtual
from controller.transport.base import NoConnection

SILENCE = "it took too long"
DARK = "no connection within 3 s"


class Scripted(PowerWatch):
    """A BMC that says, at its n-th reading, what a function of n says."""

    def __init__(self, says: Callable[[int], str], answers: tuple[int, ...] = (),
                 resets: tuple[str, ...] = ("ForceOff",)) -> None:
        super().__init__("paris-1", lambda: 0.0)
        self._says, self._answers, self._resets = says, answers, resets
        self.reads = 0
        self.sent_s: list[float] = []

    async def ask(self) -> Reading:
        """Say the next word."""
        self.reads += 1
        said = self._says(self.reads)
        if said == SILENCE:
            raise Unavailable(said)
        if said == DARK:
            raise NoConnection(said)
        if said.startswith("refused"):
            raise Refused(said)
        return Reading(said, resets=self._resets)

    async def force_off(self) -> tuple[bool, str]:
        """Note when, and answer by the script; 0 breaks off."""
        self.sent_s.append(asyncio.get_running_loop().time())
        status = self._answers[min(len(self.sent_s), len(self._answers)) - 1] if (
            self._answers) else 204
        if status == 0:
            raise OutcomeUnknown("the line broke")
        return status < 300, f"to ForceOff HTTP {status}"


def played(bmc: Scripted) -> tuple[str, float]:
    """Fence and return the sentence, or the error's name and sentence, and how long it took."""
    async def whole() -> tuple[str, float]:
        begun_s = asyncio.get_running_loop().time()
        try:
            said = await bmc.fence()
        except ActionError as error:
            said = f"{type(error).__name__}: {error}"
        return said, asyncio.get_running_loop().time() - begun_s

    return run_virtual(whole())


def said_in_turn(*words: str) -> Callable[[int], str]:
    """Say one word after the other, the last for ever."""
    return lambda n: words[min(n, len(words)) - 1]


@pytest.mark.parametrize(("words", "sentence", "took_s", "sent"), [
    (("On", "Off"), "cut the power of paris-1", 2.0, 1),
    (("Off",), "found no power on paris-1", 1.0, 0),
    (("Off", "On", "Off"), "cut the power", 3.0, 1),
    (("Off", SILENCE, SILENCE, "Off"), "found no power", 3.0, 0),
    (("Off", "PoweringOff", "Off"), "cut the power", 3.0, 1),
    (("On", "PoweringOff", "PoweringOff", "Off"), "cut the power", 4.0, 1),
    ((SILENCE,), "Unavailable: paris-1 is not fenced: its BMC gave no answer that tells its power"
                 " within 60 s; last it said: it took too long", 60.0, 0),
    ((DARK,), "Unavailable: paris-1 is not fenced: no connection within 3 s", 10.0, 0),
    ((DARK, DARK, "On", "Off"), "cut the power of paris-1", 4.0, 1),
    (("On", DARK), "OutcomeUnknown: paris-1 is not proven off", 60.0, 1),
    ((SILENCE, DARK), "Unavailable: paris-1 is not fenced: its BMC gave no answer", 60.0, 0),
    (("PoweringOff",), "OutcomeUnknown: paris-1 is not proven off: its BMC was told to cut the"
                       " power and still says PoweringOff within 60 s", 60.0, 1),
    (("On",), "OutcomeUnknown: paris-1 is not proven off", 60.0, 4),
    (("",), "OutcomeUnknown: paris-1 is not proven off: its BMC was told to cut the power and"
            " still says no word", 60.0, 1),
    (("refused: it is not believed",), "Refused: refused: it is not believed", 0.0, 0),
    (("On", "refused: the session ended"), "OutcomeUnknown: paris-1 was told to cut its power, and"
                                           " is not proven off: refused", 1.0, 1),
])
def test_what_is_said_second_by_second(words: tuple[str, ...], sentence: str, took_s: float,
                                       sent: int) -> None:
    bmc = Scripted(said_in_turn(*words))
    said, took = played(bmc)
    assert said.startswith(sentence)
    assert (took, len(bmc.sent_s)) == (pytest.approx(took_s), sent)


def test_force_off_is_repeated_only_where_it_was_forgotten() -> None:
    bmc = Scripted(lambda _: "On")
    played(bmc)
    assert [one - bmc.sent_s[0] for one in bmc.sent_s] == pytest.approx([0, 15, 30, 45])


def test_force_off_that_was_turned_down_is_soon_repeated() -> None:
    bmc = Scripted(lambda n: "On" if n < 9 else "Off", answers=(503, 503, 204))
    assert "cut the power" in played(bmc)[0]
    assert [one - bmc.sent_s[0] for one in bmc.sent_s] == pytest.approx([0, 3, 6])


def test_a_broken_line_at_force_off_proves_nothing_and_hinders_nothing() -> None:
    bmc = Scripted(lambda n: "On" if n < 3 else "Off", answers=(0,))
    assert "cut the power" in played(bmc)[0]
    bmc = Scripted(lambda n: "On" if n < 3 else SILENCE, answers=(0,))
    assert played(bmc)[0].startswith("OutcomeUnknown")


def test_a_time_limit_in_the_middle_of_force_off_proves_nothing() -> None:
    class Slow(Scripted):
        async def force_off(self) -> tuple[bool, str]:
            """Hang."""
            await asyncio.sleep(1000)
            return True, ""

    assert played(Slow(lambda _: "On"))[0].startswith("OutcomeUnknown: paris-1 is not proven off")


def test_force_off_that_never_left_was_not_sent() -> None:
    class Gone(Scripted):
        async def force_off(self) -> tuple[bool, str]:
            """Break before anything is sent."""
            raise Unavailable("no connection")

    assert played(Gone(lambda _: "On"))[0].startswith("Unavailable: paris-1 is not fenced")


def test_no_force_off_is_no_way() -> None:
    bmc = Scripted(lambda _: "On", resets=("On", "Nmi"))
    assert played(bmc)[0] == ("Refused: the BMC of paris-1 offers no ForceOff, only On, Nmi: it"
                              " cannot cut the power")


def test_two_readings_of_one_moment_are_one() -> None:
    async def whole() -> list[int]:
        bmc = Scripted(lambda _: "Off")
        seen = [(await bmc.read()).off_reads, (await bmc.read()).off_reads]
        await asyncio.sleep(1.0)
        return [*seen, (await bmc.read()).off_reads, (await bmc.read()).off_reads]

    assert run_virtual(whole()) == [1, 1, 2, 2]


def test_who_watches_during_a_fence_gets_its_readings_and_asks_nothing() -> None:
    async def whole() -> None:
        bmc = Scripted(lambda n: "On" if n < 5 else "Off")
        fence = asyncio.create_task(bmc.fence())
        await asyncio.sleep(1.5)
        reads = bmc.reads
        fact = await bmc.observe()
        assert (bmc.reads, getattr(fact, "value", None)) == (
            reads, PowerFacts("On", resets=("ForceOff",)))
        await fence

    run_virtual(whole())


def test_a_fence_can_be_made_of_any_switch() -> None:
    assert "cut the power of milan-2" in run_virtual(
        Fence("milan-2", Scripted(said_in_turn("On", "Off"))).run())


@pytest.mark.parametrize(("says", "sent"), [
    (said_in_turn("On", "On", "Off"), [0.0]),
    (said_in_turn(DARK, "On", "Off"), [1.0]),
    (said_in_turn(*[DARK] * 4, "On", "Off"), []),
    (said_in_turn(*[SILENCE] * 4, "On", "Off"), []),
], ids=["at once", "a second later", "reached too late", "answers too late"])
def test_what_cannot_begin_at_once_is_not_begun(says: Callable[[int], str],
                                                sent: list[float]) -> None:
    bmc = Scripted(says)

    async def whole() -> None:
        begun_s = asyncio.get_running_loop().time()
        if sent:
            assert "cut the power" in await bmc.fence(3.0)
        else:
            with pytest.raises(Unavailable, match="could not be told at once"):
                await bmc.fence(3.0)
        assert [at_s - begun_s for at_s in bmc.sent_s] == sent

    run_virtual(whole())

"""BMCs are watched: slowly while all is well, at once when a host falls silent or has power again.
"""

import asyncio
from dataclasses import replace

from controller.model.condition import ConditionType
from controller.model.facts import Fact, Known, Unknown
from controller.model.failover.power import PowerFacts
from controller.plan.actions.fencing import FenceHost
from controller.providers.simulated.virtual_time import epoch_clock, run_virtual
from controller.reconcile.observe.view import View
from controller.reconcile.report.event import EventKind
from tests.reconcile.stage import Show, Stage, lab, playing, reporting

FENCE = FenceHost(target="Host/paris-2", node="paris-2", reason="it is silent")


class Counting(Stage):
    """A stage that counts who asked which BMC when."""

    def __init__(self) -> None:
        super().__init__(reporting(lab()))
        self.asked: list[tuple[str, float]] = []

    async def observe_power(self, host: str) -> Fact[PowerFacts]:
        """Pass on and count."""
        self.asked.append((host, epoch_clock()))
        return await super().observe_power(host)


def fenceable(show: Show, host: str) -> tuple[str, str]:
    """Return status and reason of a host's condition."""
    assert show.loop.plan is not None
    (found,) = [one for one in show.loop.plan.conditions
                if (one.target, one.type) == (f"Host/{host}", ConditionType.FENCEABLE)]
    return str(found.status), found.reason


def state(show: Show, host: str) -> str:
    """Return what is known of a host's power."""
    fact = show.loop.observed.powers[host]
    return fact.value.state if isinstance(fact, Known) else "?"


def test_in_peacetime_each_bmc_is_asked_now_and_then() -> None:
    async def play() -> None:
        stage = Counting()
        async with playing(reporting(lab()), stage=stage) as show:
            await asyncio.sleep(600)
            for host in show.loop.observed.powers:
                times = [at for name, at in stage.asked if name == host]
                assert 12 <= len(times) <= 16
            assert set(show.loop.observed.powers) == set(lab().hosts)
            assert fenceable(show, "paris-1") == ("true", "BmcAnswers")
    run_virtual(play())


def test_a_silent_hosts_bmc_is_asked_at_once_and_often() -> None:
    async def play() -> None:
        stage = Counting()
        async with playing(reporting(lab()), stage=stage) as show:
            await asyncio.sleep(50)
            show.strike("power paris-2 off")
            await show.until(lambda: state(show, "paris-2") == "Off", limit_s=15)
            begun_at = epoch_clock()
            await asyncio.sleep(20)
            assert 8 <= len([at for name, at in stage.asked
                             if name == "paris-2" and at > begun_at]) <= 11
            show.strike("power paris-2 on")
            await show.until(lambda: state(show, "paris-2") == "On", limit_s=3)
    run_virtual(play())


def test_who_was_fenced_and_has_power_again_is_seen_at_once() -> None:
    async def play() -> None:
        stage = Counting()
        stage.estate.command("bmc paris-2 always-on")
        async with playing(reporting(lab()), stage=stage) as show:
            await asyncio.sleep(50)
            assert "cut the power" in await stage.apply(FENCE)
            await show.until(lambda: state(show, "paris-2") == "Off", limit_s=15)
            back_at = epoch_clock()
            await show.until(lambda: state(show, "paris-2") == "On", limit_s=40)
            assert epoch_clock() - back_at < 25
            assert [event.sentence for event in show.told(EventKind.OBSERVED, "Host/paris-2")] == [
                "the BMC of paris-2 reads Off", "the BMC of paris-2 reads On"]
    run_virtual(play())


def test_a_bmc_of_another_machine_and_one_that_is_dark_are_told() -> None:
    async def play() -> None:
        stage = Counting()
        stage.estate.command("bmc paris-1 stranger")
        stage.estate.command("bmc paris-2 wrong-password")
        stage.estate.command("bmc milan-1 down")
        async with playing(reporting(lab()), stage=stage) as show:
            await asyncio.sleep(60)
            assert fenceable(show, "paris-1") == ("false", "AnotherMachine")
            assert fenceable(show, "paris-2") == ("false", "Refused")
            assert fenceable(show, "milan-1") == ("unknown", "BmcSilent")
    run_virtual(play())


def test_a_host_without_a_bmc_has_no_entry_and_a_new_one_is_asked() -> None:
    async def play() -> None:
        desired = reporting(lab())
        bare = desired.hosts["paris-1"]
        bare = bare.model_copy(update={"spec": bare.spec.model_copy(update={"bmc": None})})
        stage = Counting()
        async with playing(replace(desired, hosts={**desired.hosts, "paris-1": bare}),
                           stage=stage) as show:
            await asyncio.sleep(5)
            assert "paris-1" not in show.loop.observed.powers
            await show.loop.set_desired(desired)
            await show.until(lambda: state(show, "paris-1") == "On", limit_s=5)
    run_virtual(play())


def test_silence_keeps_what_was_said_and_since_when() -> None:
    view = View(lambda: 100.0)
    view.declare_powers(["paris-1"])
    assert not view.put_power("milan-1", Known(PowerFacts("On"), 1.0))
    assert view.put_power("paris-1", Known(PowerFacts("On"), 100.0))
    assert not view.put_power("paris-1", Known(PowerFacts("On"), 110.0))
    assert view.put_power("paris-1", Unknown("dark", 120.0))
    assert view.power("paris-1") == Unknown("dark", 120.0, PowerFacts("On"), 110.0)
    view.put_power("paris-1", Unknown("dark", 130.0))
    assert view.power("paris-1") == Unknown("dark", 120.0, PowerFacts("On"), 110.0)
    version = view.power_version_of("paris-1")
    assert view.put_power("paris-1", Known(PowerFacts("Off", off_reads=1), 140.0))
    assert view.power_version_of("paris-1") > version

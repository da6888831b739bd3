"""Virtual time: waiting costs nothing, order is kept, and a deadlock is an error, not a hang."""

import asyncio
import time

import pytest

from controller.providers.simulated.virtual_time import (
    START_AT,
    Deadlock,
    epoch_clock,
    run_virtual,
)


def test_a_day_passes_at_once() -> None:
    async def day() -> float:
        await asyncio.sleep(86400)
        return epoch_clock()

    assert run_virtual(day()) == pytest.approx(START_AT + 86400)


def test_what_is_due_earlier_happens_earlier() -> None:
    async def race() -> list[str]:
        order: list[str] = []

        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            order.append(name)

        await asyncio.gather(after(3, "late"), after(1, "early"), after(2, "between"))
        return order

    assert run_virtual(race()) == ["early", "between", "late"]


def test_waiting_for_what_never_comes_is_a_deadlock() -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="nothing can ever happen again"):
        run_virtual(stuck())


def test_a_speed_holds_time_back() -> None:
    began_s = time.monotonic()
    run_virtual(asyncio.sleep(2.0), speed=20.0)
    assert time.monotonic() - began_s > 0.09

"""The runbook of a takeover for people: wave by wave, then who does not start, and why."""

from collections.abc import Iterator
from typing import Final

from controller.model.units import render_duration, render_instant
from controller.plan.steps.takeover import Outcome, Promotion, Takeover

HEADINGS: Final = (
    (Outcome.SHED, "stay off for want of room, as their policies let them"),
    (Outcome.WAITS, "wait for a person"),
    (Outcome.UNKNOWN, "cannot be judged now"),
    (Outcome.STAYS_OFF, "are declared off"),
)


def render_runbook(takeover: Takeover) -> tuple[str, ...]:
    """Return the lines of a runbook: headings, and below each its VMs, indented."""
    return tuple(_lines(takeover))


def _lines(takeover: Takeover) -> Iterator[str]:
    yield f"if {takeover.lost} is lost now, at {takeover.site}"
    wave = 0
    for one in takeover.of(Outcome.RETURNS):
        if one.wave != wave:
            wave = one.wave
            yield f"  wave {wave} (start order {one.start_order})"
        yield f"    {one.machine} on {one.host} {_from(one)}"
        yield from (f"        {note}" for note in one.notes)
    for outcome, words in HEADINGS:
        several = takeover.of(outcome)
        if several:
            yield f"  {words}"
        for one in several:
            where = f" on {one.host}" if one.host is not None else ""
            source = f" {_from(one)}" if one.point is not None else ""
            yield f"    {one.machine}{where}{source}"
            yield from (f"        {gate.sentence}" for gate in one.gates)


def _from(one: Promotion) -> str:
    """Return which point a VM comes back from, and what it loses by that."""
    if one.point is None or one.loss_s is None:
        return "with nothing to copy"
    return (f"from point {one.point.sequence} of {render_instant(one.point.started_at)}:"
            f" {render_duration(one.loss_s)} lost")

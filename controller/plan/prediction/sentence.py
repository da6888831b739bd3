"""A prediction in one sentence, and a second one that says how far it can be believed.

Rule 1: the first sentence holds all that a person must hear who hears nothing else: what comes
        back, when, what is lost, and for what a person is needed.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from controller.model.units import render_duration
from controller.plan.steps.draft import counted
from controller.plan.steps.prediction import Prediction, Schedule
from controller.plan.steps.takeover import Outcome

NAMED: Final = 3
"""So many names stand in a sentence."""


def render_prediction(one: Prediction, now_s: float) -> str:
    """Return what the loss would come to, as one sentence without a full stop."""
    return f"if {one.lost} is lost now: {'; '.join(_parts(one, now_s))}"


def _parts(one: Prediction, now_s: float) -> Iterator[str]:
    schedule = one.schedule
    if one.twin is None and one.protected:
        yield f"none of its {counted(one.protected, 'protected VM')} starts: {one.site} has no twin"
    elif not one.protected:
        yield "none of its VMs is protected" if one.bare else "no VM is lost"
    else:
        yield _first(one, now_s)
    for outcome, words in ((Outcome.WAITS, "not"), (Outcome.UNKNOWN, "unknown is"),
                           (Outcome.SHED, "off stay")):
        names = [why.machine for why in one.hindered if why.outcome is outcome]
        if names and one.twin is not None:
            yield f"{words} {listed(names)}"
    if one.bare:
        verb = "is" if one.bare == 1 else "are"
        yield f"{counted(one.bare, 'VM')} {verb} lost that no policy protects"
    yield from _persons(schedule)


def _first(one: Prediction, now_s: float) -> str:
    schedule, off = one.schedule, one.returns - one.schedule.starts
    words = f"{schedule.starts} of {one.protected - off} start{'s' * (schedule.starts == 1)}"
    words += f" at {one.twin}"
    if schedule.last_start_s is not None:
        words += f" in {render_duration(schedule.last_start_s)}"
    if one.worst_at is not None:
        loss = render_duration(max(0.0, now_s - one.worst_at))
        words += f", worst loss {loss} ({one.worst})"
    return words


def _persons(schedule: Schedule) -> Iterator[str]:
    """Yield what a person has to do first."""
    if schedule.ordered == schedule.starts > 0:
        yield f"once a person orders it{f': {schedule.why_ordered}' * bool(schedule.why_ordered)}"
    elif schedule.ordered:
        yield f"{schedule.ordered} of them once a person orders it"
    if schedule.unproven:
        verb = "is" if len(schedule.unproven) == 1 else "are"
        yield f"once a person says that {listed(schedule.unproven)} {verb} off"
    if schedule.by_bmc:
        verb = "answers" if len(schedule.by_bmc) == 1 else "answer"
        yield f"if the BMC of {listed(schedule.by_bmc)} {verb} then"


def render_basis(one: Prediction, now_s: float) -> str:
    """Return how far the times can be believed; empty where nothing starts."""
    schedule = one.schedule
    if not schedule.starts:
        return ""
    if not schedule.measured:
        known = "the time is assumed: none of these starts was ever measured"
    else:
        age = render_duration(now_s - (schedule.oldest_measured_at or now_s))
        rest = "" if schedule.measured == schedule.starts else ", the rest assumed"
        known = (f"{schedule.measured} of {counted(schedule.starts, 'start')} measured, the oldest"
                 f" {age} ago{rest}")
    if not schedule.drilled:
        return f"{known}; never drilled"
    age = render_duration(now_s - (schedule.oldest_drilled_at or now_s))
    return f"{known}; {schedule.drilled} of {schedule.starts} drilled, the oldest {age} ago"


def render_window(one: Prediction) -> str:
    """Return what the links to the other site carry; empty where no rate is declared."""
    window = one.window
    if window is None or not window.known:
        return ""
    verb = "carries" if len(window.links) == 1 else "carry"
    words = (f"at {render_rate(window.rate_bps)} {' and '.join(window.links)} {verb} the copies of"
             f" {window.carried} of {counted(window.known, 'VM')} of {one.site} within their RPO:"
             f" they write {render_rate(window.need_bps)}")
    return words + (f"; of {window.unknown} more nobody knows yet" if window.unknown else "")


def render_rate(rate_bps: float) -> str:
    """Return a rate in bits a second as people say it: `20 Mbit/s`."""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate_bps >= size:
            return f"{rate_bps / size:.3g} {unit}"
    return f"{rate_bps:.3g} bit/s"


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

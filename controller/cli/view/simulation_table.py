"""The table of a simulation: what was lost, what came back and when; then who did not, and why."""

from typing import Any

from controller.cli.view.paint import Painter, console, table
from controller.model.units import render_duration, render_instant
from controller.plan.steps.draft import counted
from controller.reconcile.simulation.happenings import BACK
from controller.reconcile.simulation.playing import Played, Setting

HEAD = ("when", "what", "VMs", "back", "last start", "predicted", "worst loss")


def show(setting: Setting, played: list[Played], now_s: float) -> None:
    """Print what it began with, the table, and the VMs that did not come back."""
    painter = Painter(console())
    painter.line(begun_with(setting, now_s))
    table(painter, [HEAD, *(row(one) for one in played)])
    missing = not_back(played)
    for name, (why, whats) in missing.items():
        painter.line(f"not back: {name}, {why} ({', '.join(whats)})", "red")
    for name in sorted({name for one in played for name in one.twice}):
        painter.line(f"TWO COPIES of {name} ran", "bold red")
    if not missing:
        painter.line("Every VM that was lost came back.", "green")


def begun_with(setting: Setting, now_s: float) -> str:
    """Return from what the simulation began, as a sentence."""
    machines = counted(len(setting.desired.virtual_machines), "VM")
    if not setting.facts:
        return f"{machines}, as declared: no loop has seen any of them in this state folder."
    age = render_duration(max(0.0, now_s - min(
        fact.observed_at for fact in setting.facts.values())))
    return (f"{machines}, as {counted(len(setting.facts), 'node')} had them, last seen {age} ago at"
            " the latest.")


def row(one: Played) -> tuple[str, ...]:
    """Return one line of the table."""
    what = f"{one.what.target} {one.what.state}"
    when = render_instant(one.what.at)
    if one.what.state == BACK:
        return (when, what, "", "", "", "", "")
    worst = one.worst
    return (when, what, str(len(one.lost)), str(len(one.back_s)), _after(one.last_s),
            _after(one.predicted_s),
            "" if worst is None else f"{render_duration(round(worst[0]))} ({worst[1]})")


def _after(seconds: float | None) -> str:
    return "" if seconds is None else render_duration(round(seconds))


def not_back(played: list[Played]) -> dict[str, tuple[str, list[str]]]:
    """Return, by VM that did not come back, why at first, and after what."""
    found: dict[str, tuple[str, list[str]]] = {}
    for one in played:
        for name, why in one.reasons.items():
            found.setdefault(name, (why, []))[1].append(f"{one.what.target} {one.what.state}")
    return dict(sorted(found.items()))


def to_json(setting: Setting, played: list[Played]) -> dict[str, Any]:
    """Return how a simulation went, as plain values."""
    return {
        "seed": setting.seed, "facts": sorted(setting.facts), "place": setting.place,
        "happenings": [{
            "at": one.what.at, "target": one.what.target, "state": one.what.state,
            "lost": list(one.lost), "back_s": one.back_s, "not_back": one.reasons,
            "last_s": one.last_s, "predicted_s": one.predicted_s, "ages_s": one.ages_s,
            "ran_twice": list(one.twice)} for one in played]}

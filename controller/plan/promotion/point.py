"""Points: from which restore point a VM comes back, and what a person must know before.

By itself a VM takes its newest sound point. A damaged newer one is passed over and told. VMs of one
group take the newest points that are of one instant; copies of a group begin within seconds of each
other, so points that began no further apart than `SAME_INSTANT_S` count as one. Where there is no
such instant, each takes its newest, and a person is told how far apart they are. A person may ask
for an older one by its number, or for the newest that is not younger than an instant; then nothing
is too old.

Rule 1: a damaged point is never taken, whoever asks; nor is a tail, which is what an older copy of
        the VM held at its end.
Rule 2: ages are told with instants, so that a person can compare them with what users say.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from controller.model.protection_policy import ProtectionPolicySpec
from controller.model.replica import PointFacts
from controller.model.units import parse_instant_at, render_duration, render_instant
from controller.plan.replication.groups import SAME_INSTANT_S
from controller.plan.steps.takeover import Obstacle

AHEAD_S: Final = 5.0
"""A point may be dated this far ahead of now, as clocks differ a little."""
OLD: Final = 3.0
"""Without `maxAge` a point waits for a person from so many times its RPO on."""
SHOWN: Final = 4


class Asked(NamedTuple):
    """Which point a person asked for: by number, or not younger than an instant."""

    sequence: int | None = None
    until_at: float | None = None
    unreadable: str = ""
    """Why what was asked is not understood: nothing satisfies it."""


NEWEST: Final = Asked()


class Candidate(NamedTuple):
    """A VM with the points of its replica, oldest first."""

    machine: str
    points: tuple[PointFacts, ...]
    policy: ProtectionPolicySpec
    lost_at: float
    """Since when it cannot have written any more, as far as is known; now, if it may write yet."""
    now_s: float


class Choice(NamedTuple):
    """The point that a VM comes back from; None if there is none that may be taken."""

    point: PointFacts | None
    gates: tuple[Obstacle, ...] = ()
    """What a person has to know, and may accept, before it is taken."""
    note: str = ""
    """What is worth telling and stops nobody: a damaged newer point that is passed over."""


def parse_asked(text: str) -> Asked:
    """Return what `--point N|TIME` asks for."""
    if not text:
        return NEWEST
    if re.fullmatch(r"[0-9]{1,9}", text):
        return Asked(sequence=int(text))
    try:
        return Asked(until_at=parse_instant_at(text))
    except ValueError as error:
        return Asked(unreadable=f"{error}, or by the number of a point")


def most_age_s(policy: ProtectionPolicySpec) -> float:
    """Return how old a point may be for a VM to come back from it without a person."""
    return OLD * policy.rpo_s if policy.max_age_s is None else policy.max_age_s


def choose_point(one: Candidate, asked: Asked = NEWEST) -> Choice:
    """Return the point that a VM without a group comes back from."""
    able = usable(one.points, asked)
    if not able:
        return Choice(None, (Obstacle("NoPoint", _no_point(one, asked)),))
    return _chosen(one, able[-1], asked)


def choose_common(members: Sequence[Candidate],
                  asked: Asked = NEWEST) -> Mapping[str, Choice]:
    """Return the points that the VMs of one group come back from, by VM."""
    if asked.sequence is not None and len(members) > 1:
        why = Obstacle("NoPoint", f"number {asked.sequence} is a point of one VM, and"
                       f" {' and '.join(one.machine for one in members)} come back together: ask"
                       " for an instant")
        return {one.machine: Choice(None, (why,)) for one in members}
    able = {one.machine: usable(one.points, asked) for one in members}
    with_any = [one for one in members if able[one.machine]]
    common = common_points([able[one.machine] for one in with_any])
    found = {}
    for number, one in enumerate(with_any):
        point = able[one.machine][-1] if common is None else common[number]
        found[one.machine] = _chosen(one, point, asked)
    if with_any and common is None:
        skew = _skew({one.machine: able[one.machine][-1] for one in with_any})
        found = {name: choice._replace(gates=(*choice.gates, skew))
                 for name, choice in found.items()}
    return {one.machine: found.get(one.machine) or choose_point(one, asked)
            for one in members}


def usable(points: tuple[PointFacts, ...], asked: Asked) -> tuple[PointFacts, ...]:
    """Return the sound ones of some points that satisfy what is asked, oldest first."""
    return () if asked.unreadable else tuple(
        point for point in points
        if not point.damaged_clusters and not point.diverged
        and asked.sequence in {None, point.sequence}
        and (asked.until_at is None or point.started_at <= asked.until_at))


def common_points(series: Sequence[tuple[PointFacts, ...]]) -> tuple[PointFacts, ...] | None:
    """Return the newest point of each series such that all are of one instant; None if none are."""
    for at in sorted({point.started_at for points in series for point in points}, reverse=True):
        found = tuple(next((point for point in reversed(points)
                            if at - SAME_INSTANT_S <= point.started_at <= at), None)
                      for points in series)
        whole = tuple(point for point in found if point is not None)
        if len(whole) == len(series):
            return whole
    return None


def _chosen(one: Candidate, point: PointFacts, asked: Asked) -> Choice:
    gates: tuple[Obstacle, ...] = ()
    most_s, age_s = most_age_s(one.policy), one.lost_at - point.started_at
    if point.started_at > one.now_s + AHEAD_S:
        gates = (Obstacle("InTheFuture", f"its point {point.sequence} is dated"
                          f" {render_instant(point.started_at)}, which is to come: nobody knows how"
                          " old it is", yields=True),)
    elif asked == NEWEST and age_s > most_s:
        before = f", {render_duration(age_s)} before it was lost" if (
            one.lost_at < one.now_s) else ""
        gates = (Obstacle("TooOld", "it would go back to"
                          f" {render_instant(point.started_at)}{before}, and more than"
                          f" {render_duration(most_s)} is not lost without a person's yes",
                          yields=True),)
    return Choice(point, gates, passed_over(one.points, point))


def passed_over(points: tuple[PointFacts, ...], point: PointFacts) -> str:
    """Return which newer point is damaged and therefore not taken; empty if none is."""
    worse = [each for each in points if each.sequence > point.sequence
             and each.damaged_clusters]
    if not worse:
        return ""
    newest = worse[-1]
    return (f"point {newest.sequence} of {render_instant(newest.started_at)} is damaged:"
            f" it comes back from point {point.sequence} of"
            f" {render_instant(point.started_at)}")


def _skew(newest: Mapping[str, PointFacts]) -> Obstacle:
    ordered = sorted(newest.items(), key=lambda one: (one[1].started_at, one[0]))
    apart_s = ordered[-1][1].started_at - ordered[0][1].started_at
    words = ", ".join(f"{name} of {render_instant(point.started_at)}"
                      for name, point in ordered[:SHOWN])
    more = f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else ""
    return Obstacle("GroupSkew", f"they are of one group and have no point of one instant: {words}"
                    f"{more}, {render_duration(apart_s)} apart", yields=True)


def _no_point(one: Candidate, asked: Asked) -> str:
    if asked.unreadable:
        return asked.unreadable
    sound = usable(one.points, NEWEST)
    if not sound:
        return "no restore point of it is complete and sound"
    if asked.sequence is not None:
        have = ", ".join(str(point.sequence) for point in sound[-12:])
        return f"it has no sound point {asked.sequence}, but {have}"
    assert asked.until_at is not None, "without that each sound point would do"
    return (f"it has no sound point of {render_instant(asked.until_at)} or before: its"
            f" oldest is {sound[0].sequence} of {render_instant(sound[0].started_at)}")

"""Measured starts: what a failover took for each VM, so that the next one can be predicted.

    asked ───────────► started ─────► healthy
         its share of the     seen by the hosts that
         time of its host     ask it; unseen: unknown

VMs of one host are started in one request, whose answer comes for all at once. So what is measured
is how long the host was busy with starts, and each VM has an equal share in that.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

from controller.plan.survey.context import Boot


class Started(NamedTuple):
    """One promotion that was done."""

    machine: str
    node: str
    begun_at: float
    ended_at: float


def boots_of(starts: Iterable[Started], before: Mapping[str, Boot]) -> dict[str, Boot]:
    """Return, by VM, how long its last start took, where that is news.

    Shapes: a health that was seen after that same start stays.
    """
    found: dict[str, Boot] = {}
    ordered = sorted(starts, key=lambda one: (one.node, one.begun_at, one.ended_at))
    for _, here in groupby(ordered, key=lambda one: one.node):
        for busy in _stretches(here):
            ended_at = max(one.ended_at for one in busy)
            share_s = max(0.0, ended_at - busy[0].begun_at) / len(busy)
            for one in busy:
                if one.machine not in found or found[one.machine].at < one.begun_at:
                    found[one.machine] = Boot(share_s, one.begun_at, _seen(one, before))
    return {name: boot for name, boot in found.items() if before.get(name) != boot
            and (name not in before or before[name].at <= boot.at)}


def _seen(one: Started, before: Mapping[str, Boot]) -> float | None:
    last = before.get(one.machine)
    return last.boot_s if last is not None and last.at == one.begun_at else None


def _stretches(starts: Iterable[Started]) -> list[list[Started]]:
    """Return the starts of one host by the stretches of time in which it was busy with them."""
    found: list[list[Started]] = []
    until_at = float("-inf")
    for one in starts:
        if one.begun_at > until_at:
            found.append([])
        found[-1].append(one)
        until_at = max(until_at, one.ended_at)
    return found

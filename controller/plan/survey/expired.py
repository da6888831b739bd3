"""What people asked for that could not be begun in time, and is dropped.

Done hours later it would surprise; dropped without a word it would be waited for.
"""

from collections.abc import Iterable
from typing import NamedTuple

from controller.model.units import render_duration
from controller.plan.survey.context import REQUEST_LASTS_S, FailoverRequest, ReplicaRequest


class Expired(NamedTuple):
    """Orders whose time is over, and which nothing was begun for."""

    failovers: tuple[FailoverRequest, ...] = ()
    requests: tuple[ReplicaRequest, ...] = ()


def expired(failovers: Iterable[FailoverRequest], requests: Iterable[ReplicaRequest],
            now_s: float) -> Expired:
    """Return which of these orders have expired."""
    return Expired(tuple(one for one in failovers if one.expires_at <= now_s),
                   tuple(one for one in requests if one.expires_at <= now_s))


def sentences(gone: Expired) -> tuple[tuple[str, str], ...]:
    """Return what is told of each, with its target."""
    return (*((one.target, _dropped(_words(one), one.by)) for one in gone.failovers),
            *((f"VirtualMachine/{one.machine}",
               _dropped(f"hotsite replica {one.kind} {one.machine}", one.by))
              for one in gone.requests))


def _words(order: FailoverRequest) -> str:
    verb = "failback" if order.back else "failover"
    planned = " --planned" if order.planned and not order.back else ""
    return f"hotsite {verb} {order.target.partition('/')[2]}{planned}"


def _dropped(words: str, by: str) -> str:
    return (f"`{words}` of {by} is dropped: within {render_duration(REQUEST_LASTS_S)} nothing of it"
            " could be begun; order it again, if it is still wanted")

"""Whose word counts: views, by the places they stand at.

A view is what one process hears. Two processes at one place fail together, so places are counted: a
controller and a witness on one machine are one view, and a witness inside a site is that site's.
A view that is silent or late says nothing, and saying nothing is never agreement. A view that still
hears a host outweighs all that do not: then a link is broken, and not the host.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from controller.failover.situation import HostSituation, Situation, View
from controller.model.units import render_duration

LEAST_PLACES = 2
LATELY_S = 5.0
"""What a view heard a shorter time ago, it hears."""
LISTED = 5
"""So many VMs are named; a line is read at night."""


class Told(NamedTuple):
    """What a signal has to say, and whom it waits for."""

    why: str
    waits_for: tuple[str, ...] = ()


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:LISTED])} and {more} more"


def is_silent(host: HostSituation, situation: Situation) -> bool:
    """Return whether a host has been silent towards us for so long that it is suspected."""
    return host.silent_s >= situation.suspect_after_s


def answers(host: HostSituation, situation: Situation) -> bool:
    """Return whether a host has answered lately.

    One that this controller has not heard, since it began or since it slept, neither answers nor is
    silent, until it has listened long enough.
    """
    return host.heard and unheard_s(host) < situation.suspect_after_s


def unheard_s(host: HostSituation) -> float:
    """Return how long ago a host last answered, whoever asked it."""
    return host.silent_s if host.unheard_s is None else host.unheard_s


def is_fresh(view: View, situation: Situation) -> bool:
    """Return whether a view says anything; a late one is as good as none."""
    return view.age_s is not None and view.age_s <= situation.suspect_after_s


def hears(view: View, host: str, situation: Situation) -> bool:
    """Return whether a view still hears a host, by what it said last."""
    heard_s = view.heard_s.get(host)
    return heard_s is not None and heard_s < situation.suspect_after_s


def confirms(view: View, host: str, situation: Situation) -> bool:
    """Return whether a view has listened long enough, and heard nothing of a host.

    Nothing is heard of a host that never speaks to it, however well that is.
    """
    return (is_fresh(view, situation) and not hears(view, host, situation)
            and host not in view.deaf_to
            and view.listening_s >= situation.suspect_after_s)


def heard_by_others(hosts: Iterable[HostSituation], situation: Situation) -> Told | None:
    """Return which view still hears one of the hosts; None if none does."""
    for host in hosts:
        for view in situation.views:
            if is_fresh(view, situation) and hears(view, host.name, situation):
                return Told(f"{view.by} still hears {host.name}", (host.name,))
    return None


def still_heard(hosts: Iterable[HostSituation], situation: Situation) -> Told | None:
    """Return which view hears one of the hosts after it fell silent to us; None if none does.

    What a view said while the host was still well is no reason to suspect our own link.
    """
    for host in hosts:
        for view in situation.views:
            heard_s = view.heard_s.get(host.name)
            if (view.age_s is not None and is_fresh(view, situation)
                    and heard_s is not None and heard_s < LATELY_S
                    and heard_s + view.age_s + LATELY_S < host.silent_s):
                return Told(f"{view.by} still hears {host.name}", (host.name,))
    return None


def agreeing(hosts: tuple[HostSituation, ...], situation: Situation) -> tuple[str, ...]:
    """Return the places that say of every host that it is silent, sorted."""
    places = {view.place for view in situation.views if view.place is not None
              and all(confirms(view, host.name, situation) for host in hosts)}
    if situation.place is not None and all(is_silent(host, situation) for host in hosts):
        places.add(situation.place)
    return tuple(sorted(places))


def agreement(hosts: tuple[HostSituation, ...], situation: Situation) -> Told | None:
    """Return who agrees that the hosts are gone; None unless two places do, and none denies it."""
    places = agreeing(hosts, situation)
    if len(places) < LEAST_PLACES or heard_by_others(hosts, situation) is not None:
        return None
    return Told(f"{' and '.join(places)} have heard nothing of it for"
                f" {render_duration(situation.suspect_after_s)}")


def missing(hosts: tuple[HostSituation, ...], situation: Situation) -> Told:
    """Return which view is missing for an agreement, in words."""
    silent = tuple(view.by for view in situation.views if not is_fresh(view, situation))
    young = tuple(view.by for view in situation.views if view.by not in silent
                  and view.listening_s < situation.suspect_after_s)
    parts = [*_each(silent, "is silent, which is no agreement"),
             *_each(young, "started too short a time ago to know")]
    parts += [f"{view.by} heard {host.name} too short a time ago to miss it"
              for view in situation.views for host in hosts if view.by not in (*silent, *young)
              and hears(view, host.name, situation)][:1]
    parts += [f"{view.by} was never asked by {host.name}, and cannot miss it"
              for view in situation.views for host in hosts if host.name in view.deaf_to][:3]
    if situation.place is None:
        parts.append("nobody knows at which place this controller stands")
    if not situation.views:
        parts.append("no witness is declared")
    places = agreeing(hosts, situation)
    if not parts:
        where = " and ".join(places) or "no place"
        parts.append(f"only {where} can tell, and a witness there is no second place")
    return Told("; ".join(parts), (*silent, *young))


def _each(names: Iterable[str], what: str) -> Iterator[str]:
    return (f"{name} {what}" for name in names)


def own_link(situation: Situation) -> Told | None:
    """Return why the fault is with this controller's own line: more than half of every site is
    silent; None if some site answers."""
    sites: dict[str, list[bool]] = {}
    for host in situation.hosts.values():
        if not host.maintenance:
            sites.setdefault(host.site, []).append(is_silent(host, situation))
    if len(sites) < LEAST_PLACES or any(2 * sum(one) <= len(one) for one in sites.values()):
        return None
    return Told(f"most hosts of {' and of '.join(sorted(sites))} are silent", tuple(sorted(sites)))

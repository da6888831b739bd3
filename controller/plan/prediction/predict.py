"""Predictions: what would come back, where and when, if a site or one host of it were lost now.

    trouble (who is hindered, and why)  ─┐
    proof of what is lost               ─┼─► Prediction: returns, last start, worst loss
    starts, measured or assumed         ─┘

Rule 1: it holds instants and not ages, so that it stays the same while nothing happens.
Rule 2: a time that was never measured is assumed, and counted as such: it is told with it.
Rule 3: the loss of a host is worked out from that of its site, since what hinders one VM by itself
        does so in both. Only where room is short, or a group would be torn, it is examined anew.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from controller.plan.failover.situation import start_width
from controller.plan.prediction.proof import needs_person, proofs_of
from controller.plan.prediction.schedule import last_start_s
from controller.plan.prediction.tally import Known, Tally, summed, tally_by_host, tally_of
from controller.plan.prediction.window import window_of
from controller.plan.promotion.surroundings import Surroundings
from controller.plan.promotion.takeover import Hindrance, find_trouble
from controller.plan.replication.protected_machine import ProtectedMachine
from controller.plan.steps.prediction import UNPLANNED, Hindered, Prediction, Schedule
from controller.plan.steps.takeover import Outcome
from controller.plan.survey.survey import Survey

OF_ROOM: Final = frozenset({"MemoryShort", "HugePagesShort", "CpusShort", "GroupShared",
                            "SpaceShort"})
"""What may be in the way of a VM because of the others that come."""
Hindrances = Mapping[str, Hindrance]


class Loss(NamedTuple):
    """The loss of one site, and where its VMs would come back."""

    site: str
    machines: Sequence[ProtectedMachine]
    hindrances: Hindrances
    twin: str | None
    there: Surroundings | None
    """None: there is nowhere to come back, or nothing that could."""
    bare: Mapping[str, int]
    """By host: how many VMs are lost with it that no policy protects."""


class Foreseen(NamedTuple):
    """What one loss or another of a site would come to."""

    site: Prediction
    hosts: tuple[Prediction, ...] = ()
    """Of each host that runs anything, where that is asked for."""
    assumed: tuple[Prediction, ...] = ()
    """Of what a what-if assumes lost there."""


def predict(loss: Loss, survey: Survey) -> Foreseen:
    """Return what the loss of a site would come to now; that of its hosts, where it is asked for.
    """
    there, hosts = loss.there, survey.hosts_of_site.get(loss.site, ())
    widths = {} if there is None else {host: start_width(host, survey) for host in there.hosts}
    known = Known(widths, loss.hindrances, survey)
    tallies = tally_by_host(loss.machines, known) if survey.context.by_host else {}
    whole = summed(tallies.values()) if tallies else tally_of(loss.machines, known)
    hindered = _hindered(loss.hindrances) if loss.twin is not None else tuple(
        Hindered(one.name, Outcome.WAITS, f"{loss.site} has no twin")
        for one in sorted(loss.machines, key=lambda one: one.name))
    of_site = replace(_prediction(loss, whole, hindered, (), known),
                      window=None if loss.twin is None else window_of(
                          loss.site, loss.twin, loss.machines, survey))
    found = tuple(_hosts(loss, tallies, hindered, known)) if survey.context.by_host else ()
    lost = tuple(host for host in hosts if host in survey.lost)
    if not lost or len(lost) == len(hosts):
        return Foreseen(of_site, found, (of_site,) if lost else ())
    here = [one for one in loss.machines if one.host in lost]
    return Foreseen(of_site, found, (_anew(loss, here, lost, known),))


def _hosts(loss: Loss, tallies: Mapping[str, Tally], hindered: Iterable[Hindered],
           known: Known) -> Iterator[Prediction]:
    """Yield what the loss of each host of a site would come to."""
    survey, nobody, doubtful = known.survey, Tally(), _in_doubt(loss, known.survey)
    host_of = {one.name: one.host for one in loss.machines} if hindered else {}
    of_host: dict[str | None, list[Hindered]] = defaultdict(list)
    for one in hindered:
        of_host[host_of[one.machine]].append(one)
    for host in survey.hosts_of_site.get(loss.site, ()):
        tally = tallies.get(host, nobody)
        if host in doubtful and loss.there is not None:
            yield _anew(loss, doubtful[host], (host,), known)
        elif tally.protected or host in loss.bare:
            yield _prediction(loss, tally, tuple(of_host[host]), (host,), known)


def _anew(loss: Loss, here: Sequence[ProtectedMachine], hosts: tuple[str, ...],
          known: Known) -> Prediction:
    """Return what the loss of some hosts of a site would come to, examined by itself."""
    if loss.there is None:
        hindered = tuple(Hindered(one.name, Outcome.WAITS, f"{loss.site} has no twin")
                         for one in here)
        return _prediction(loss, tally_of(here, known), hindered, hosts, known)
    there = loss.there._replace(lost=frozenset(one.name for one in here))
    trouble = find_trouble(here, there).hindrances
    return _prediction(loss, tally_of(here, known._replace(hindered=trouble)), _hindered(trouble),
                       hosts, known)


def _in_doubt(loss: Loss, survey: Survey) -> dict[str, list[ProtectedMachine]]:
    """Return the VMs of each host whose loss may come to something else than that of its site."""
    groups = survey.specs.group_of
    doubtful = {name for name, one in loss.hindrances.items()
                if any(why.reason in OF_ROOM for why in one.obstacles)}
    hosts = {one.host for one in loss.machines if one.name in groups or one.name in doubtful
             } if groups or doubtful else set()
    found: dict[str, list[ProtectedMachine]] = defaultdict(list)
    for one in loss.machines if hosts else ():
        if one.host is not None and one.host in hosts:
            found[one.host].append(one)
    return found


def _hindered(hindrances: Hindrances) -> tuple[Hindered, ...]:
    return tuple(Hindered(name, one.outcome, ", ".join(why.sentence for why in one.obstacles))
                 for name, one in sorted(hindrances.items()))


def _prediction(loss: Loss, tally: Tally, hindered: tuple[Hindered, ...], hosts: tuple[str, ...],
                known: Known) -> Prediction:
    """Return one prediction; without hosts, that of the whole site."""
    bare = sum(number for host, number in loss.bare.items() if host in hosts or not hosts)
    schedule = UNPLANNED if not tally.starts else _schedule(loss.site, tally, hosts, known)
    return Prediction(loss.site, loss.twin, tally.protected, hindered, tally.worst, tally.worst_at,
                      tally.automatic, " and ".join(hosts), schedule, bare)


def _schedule(site: str, tally: Tally, hosts: tuple[str, ...], known: Known) -> Schedule:
    """Return how the VMs that come back would start, and what that is known from."""
    survey, whole = known.survey, not hosts
    proofs = proofs_of(hosts or survey.hosts_of_site.get(site, ()), survey, whole_site=whole)
    nobody = needs_person(site, survey, whole_site=whole)
    last_s = last_start_s(tally.batches, known.widths)
    ordered = tally.asked + (tally.spared if proofs.by_guard else 0)
    return Schedule(
        None if last_s is None else proofs.after_s + last_s, tally.starts, tally.measured,
        tally.oldest_at, tally.starts if nobody else ordered, nobody, proofs.unproven,
        proofs.by_bmc, tally.drilled, tally.oldest_drilled_at)

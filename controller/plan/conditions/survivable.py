"""Survivable and TwinMatches: whether the twin site could take over, and is still like this one.

Survivable is asked of the hosts that hold the replicas, since VMs come back there and nowhere else.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from controller.model.condition import Condition, ConditionType, Status
from controller.model.virtual_machine import Power
from controller.plan.conditions.recovery import recovery_conditions
from controller.plan.machine.capability import versions_at
from controller.plan.machine.layout import Layout
from controller.plan.machine.state import Location
from controller.plan.prediction.predict import Loss, predict
from controller.plan.promotion.surroundings import surroundings_of
from controller.plan.promotion.takeover import NO_TROUBLE, Hindrance, find_trouble
from controller.plan.replication.protected_machine import ProtectedMachine, twin_of
from controller.plan.steps.draft import counted
from controller.plan.steps.prediction import Prediction
from controller.plan.steps.takeover import Outcome
from controller.plan.survey.replicas import ReplicaIndex
from controller.plan.survey.survey import Survey

Answer = tuple[Status, str, str]


class Judgement(NamedTuple):
    """What is said of the loss of sites and hosts."""

    conditions: list[Condition]
    sites: tuple[Prediction, ...]
    hosts: tuple[Prediction, ...]
    assumed: tuple[Prediction, ...]


LIKE = 0.1
"""Totals that differ by more than this share are reported."""
SHOWN = 5


def judge_sites(protected_machines: list[ProtectedMachine], locations: Mapping[str, Location],
                index: ReplicaIndex, layout: Layout, survey: Survey) -> Judgement:
    """Return what the loss of each site would come to: its conditions, those of single VMs, and
    predictions with the numbers."""
    desired = survey.desired
    at: dict[str, list[ProtectedMachine]] = {site: [] for site in desired.sites}
    for protected in protected_machines:
        if protected.site is not None:
            at[protected.site].append(protected)
    found: list[Condition] = []
    foreseen = []
    for site in sorted(desired.sites):
        twin, taker = desired.sites[site].spec.twin, twin_of(site, survey)
        if twin is not None or at[site]:
            there = None if taker is None or not at[site] else surroundings_of(
                taker, [one.name for one in at[site]], layout, index, survey)
            trouble = NO_TROUBLE if there is None else find_trouble(at[site], there)
            found.append(Condition(
                f"Site/{site}", ConditionType.SURVIVABLE,
                *survivable(site, taker, len(at[site]), told := trouble.by_outcome()),
                desired.revision))
            found += recovery_conditions(told[Outcome.WAITS], trouble.misfits, survey)
            bare = unprotected_at(site, locations, survey)
            foreseen.append(predict(Loss(site, at[site], trouble.hindrances, taker, there, bare),
                                    survey))
        if twin is not None and twin in desired.sites:
            found.append(Condition(
                f"Site/{site}", ConditionType.TWIN_MATCHES,
                *twin_matches(site, twin, survey), desired.revision))
    return Judgement(found, tuple(one.site for one in foreseen),
                     tuple(host for one in foreseen for host in one.hosts),
                     tuple(what for one in foreseen for what in one.assumed))


def unprotected_at(site: str, locations: Mapping[str, Location], survey: Survey) -> dict[str, int]:
    """Return, by host of a site, how many VMs there no policy protects, unless declared off."""
    found: dict[str, int] = {}
    for name in survey.specs.unprotected:
        host, machine = locations[name].host, survey.desired.virtual_machines[name]
        if (host is not None and host in survey.desired.hosts and survey.site_of(host) == site
                and machine.spec.power is Power.ON):
            found[host] = found.get(host, 0) + 1
    return found


def survivable(site: str, twin: str | None, number: int,
               told: Mapping[Outcome, Mapping[str, Hindrance]]) -> Answer:
    """Return whether all protected VMs of `site`, so many, would come back at their twin."""
    if twin is None:
        return Status.FALSE, "NoTwin", f"{site} has no twin and {number} protected VMs"
    if not number:
        return Status.TRUE, "NothingProtected", f"no protected VM runs at {site}"
    of = f"of {counted(number, 'protected VM')} of {site}"
    for outcome, status, verb in ((Outcome.WAITS, Status.FALSE, "would"),
                                  (Outcome.UNKNOWN, Status.UNKNOWN, "might")):
        if told[outcome]:
            return status, first_reason(told[outcome]), (
                f"{len(told[outcome])} {of} {verb} not come back at {twin} without a person:"
                f" {_listed(told[outcome])}")
    if told[Outcome.SHED]:
        return Status.TRUE, "SomeAreShed", (
            f"{len(told[Outcome.SHED])} {of} would stay off at {twin}, as their policies let them:"
            f" {_listed(told[Outcome.SHED])}")
    one = number == 1
    return Status.TRUE, "Fits", (
        f"{counted(number, 'protected VM')} of {site} {'has' if one else 'have'} room at"
        f" {twin}, where {'its replica lies' if one else 'their replicas lie'}")


def first_reason(found: Mapping[str, Hindrance]) -> str:
    """Return the first reason of the first VM."""
    why = found[min(found)].obstacles
    return next((one.reason for one in why if one.sure), why[0].reason)


def _listed(found: Mapping[str, Hindrance]) -> str:
    """Return the first VMs with all that is in their way, and how many more there are."""
    words = [f"{name}: {', '.join(one.sentence for one in found[name].obstacles)}"
             for name in sorted(found)[:SHOWN]]
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(words) + more


def _versions(site: str, twin: str, survey: Survey) -> list[str]:
    """Return which programs differ between the two sites, by their first two numbers."""
    found = []
    for program, called in (("qemu", "QEMU"), ("libvirt", "libvirt")):
        here, there = (versions_at(one, program, survey) for one in (site, twin))
        if here and there and here != there:
            found.append(f"{called} is {' and '.join(here)} at {site} and {' and '.join(there)} at"
                         f" {twin}")
    return found


def twin_matches(site: str, twin: str, survey: Survey) -> Answer:
    """Return whether two sites are near-identical: VLANs, host profiles, capacity."""
    here, there = ({one.partition("/")[2] for one in survey.networks_at(name)}
                   for name in (site, twin))
    alone = sorted(here ^ there, key=lambda name: (survey.vlan_of[name] or 0, name))
    differences = [f"network {name} is at {site if name in here else twin} alone"
                   for name in alone]
    differences += _profiles(site, twin, survey)
    differences += _versions(site, twin, survey)
    unseen = [host for one in (site, twin) for host in survey.hosts_of_site.get(one, ())
              if survey.hardware(host) is None]
    if not unseen:
        differences += _capacity(site, twin, survey)
    if differences:
        return Status.FALSE, "Differs", "; ".join(differences)
    if unseen:
        return (Status.UNKNOWN, "HostsSilent",
                f"the hardware of {', '.join(unseen)} has not been seen yet")
    return Status.TRUE, "NearIdentical", f"{site} and {twin} have the same networks, hosts and room"


def _hosts_like(site: str, survey: Survey) -> Counter[tuple[str, str, int, tuple[str, ...]]]:
    return Counter(
        (spec.driver, spec.bridge, len(spec.uplinks),
         tuple(sorted(pool.name for pool in spec.folders)))
        for spec in (survey.desired.hosts[name].spec
                     for name in survey.hosts_of_site.get(site, ())))


def _profiles(site: str, twin: str, survey: Survey) -> list[str]:
    here, there = _hosts_like(site, survey), _hosts_like(twin, survey)
    if here.total() != there.total():
        return [f"{site} has {here.total()} hosts and {twin} has {there.total()}"]
    return [] if here == there else [f"hosts of {site} and {twin} differ in bridge, uplinks or"
                                     " pools"]


def _totals(site: str, survey: Survey) -> tuple[int, int]:
    hardware = [survey.hardware(host) for host in survey.hosts_of_site.get(site, ())]
    return (sum(each.memory_bytes for each in hardware if each is not None),
            sum(each.cpus for each in hardware if each is not None))


def _capacity(site: str, twin: str, survey: Survey) -> list[str]:
    totals = zip(("memory", "CPUs"), _totals(site, survey), _totals(twin, survey), strict=True)
    found = []
    for what, here, there in totals:
        if abs(here - there) > LIKE * max(here, there):
            share = abs(here - there) / max(here, there)
            found.append(f"{site if here < there else twin} has {share:.0%} less {what}")
    return found

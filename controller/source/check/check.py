"""The checks between documents: every contradiction is found at once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from controller.model.document import Document, Manage, Scope
from controller.model.estate import Estate
from controller.model.host import Host
from controller.model.inter_site_link import InterSiteLink
from controller.model.network import Network
from controller.model.protection_policy import ProtectionPolicy
from controller.model.site import Site
from controller.model.switch import Switch
from controller.model.units import parse_instant_at, render_duration
from controller.model.virtual_machine import VirtualMachine
from controller.source.check.addresses import check_addresses
from controller.source.check.failover import check_failover
from controller.source.check.gateways import check_gateways
from controller.source.check.hosts import check_hosts
from controller.source.check.machines import check_machines
from controller.source.check.networks import check_links, check_networks, check_switches
from controller.source.check.renames import check_renames
from controller.source.problems import Finding
from controller.source.specs import NAME, Entry, Specs

AROUND: Final[tuple[type[Document], ...]] = (Site, Host, Switch, VirtualMachine)
"""Kinds whose `autonomy` grants something to what they contain."""
OPENINGS: Final = 400
LEAST_GAP_S: Final = 900.0
FIELDS: Final = 5
ABOUT: Final[tuple[type[Document], ...]] = (Network, InterSiteLink, ProtectionPolicy)
"""Kinds whose `autonomy` can only lower the grant of actions that concern them."""


def check(specs: Specs) -> Iterator[Finding]:
    """Yield every contradiction between documents, or within one."""
    yield from check_estate(specs)
    yield from check_sites(specs)
    yield from check_links(specs)
    yield from check_switches(specs)
    yield from check_networks(specs)
    yield from check_gateways(specs)
    yield from check_hosts(specs)
    yield from check_machines(specs)
    yield from check_addresses(specs)
    yield from check_failover(specs)
    yield from check_renames(specs)
    yield from check_pauses(specs)
    yield from check_grants(specs)
    yield from check_managing(specs)


def check_estate(specs: Specs) -> Iterator[Finding]:
    """Yield a second Estate, and windows with a doubled name or an unknown time zone."""
    first, *more = specs.of(Estate).values() or [None]
    for entry in more:
        if entry is not None and first is not None:
            yield entry.wrong(f"a second Estate, first in {first.chunk.place}: keep one", *NAME)
    if first is None:
        return
    names: set[str] = set()
    for index, window in enumerate(first.document.spec.windows):
        path = ("spec", "windows", index)
        if window.name in names:
            yield first.wrong(f"a second window `{window.name}`: rename one", *path, "name")
        names.add(window.name)
        if not is_timezone(window.timezone):
            yield first.wrong(f"no time zone `{window.timezone}` is known: write one such as"
                              " Europe/Paris", *path, "timezone")
        if window.cron is not None and (why := wrong_cron(window.cron, window.duration_s)):
            yield first.wrong(why, *path, "cron")


def wrong_cron(cron: str, duration_s: float) -> str:
    """Return what is wrong with a window's cron; empty where it opens now and then."""
    like = "write five fields such as `0 22 * * SUN#1`"
    try:
        starts = list(islice(CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)), OPENINGS))
    except CronSimError as error:
        return f"`{cron}` is no cron: {error}: {like}"
    if len(cron.split()) != FIELDS or not starts:
        return f"`{cron}` never comes, or has not five fields: {like}"
    least_s = min(((later - one).total_seconds() for one, later in pairwise(starts)),
                  default=duration_s)
    if least_s < max(duration_s, LEAST_GAP_S):
        return (f"`{cron}` comes again after {render_duration(least_s)}, while the window is open"
                " still, or within 15 minutes: name its openings once, and a shorter `duration`")
    return ""


def is_timezone(name: str) -> bool:
    """Return whether this machine knows the zone."""
    if name == "UTC":
        return True
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True


def check_sites(specs: Specs) -> Iterator[Finding]:
    """Yield twins that are missing, one-sided, or the site itself."""
    sites = specs.of(Site)
    for name, entry in sites.items():
        twin = entry.document.spec.twin
        if twin is None:
            continue
        path = ("spec", "twin")
        if twin == name:
            yield entry.wrong("a site cannot be its own twin: name the other site", *path)
        elif twin not in sites:
            yield from specs.dangling(entry.chunk, "Site", twin, *path)
        elif sites[twin].document.spec.twin != name:
            back = sites[twin].document.spec.twin
            says = "names none" if back is None else f"names `{back}`"
            yield entry.wrong(f"site `{twin}` {says} as its twin: write `twin: {name}` there"
                              f" ({sites[twin].chunk.place})", *path)


def check_pauses(specs: Specs) -> Iterator[Finding]:
    """Yield pauses whose end is not an instant."""
    for entries in specs.valid.values():
        for entry in entries.values():
            yield from check_pause(entry, getattr(entry.document, "spec", None))


def check_pause(entry: Entry[Document], scope: Scope | None) -> Iterator[Finding]:
    """Yield a pause whose end is not an instant with a time zone."""
    if scope is None or scope.suspend is None:
        return
    try:
        if datetime.fromisoformat(scope.suspend.until).tzinfo is not None:
            parse_instant_at(scope.suspend.until)
            return
        wrong = "has no time zone"
    except ValueError:
        wrong = "is not an instant"
    yield entry.wrong(f"`until: {scope.suspend.until}` {wrong}: write it like"
                      " 2026-11-23T06:00:00Z", "spec", "suspend", "until")


def check_grants(specs: Specs) -> Iterator[Finding]:
    """Yield grants that could take effect nowhere, because ABOUT kinds can only lower others."""
    estates = [one.document.spec.autonomy for one in specs.of(Estate).values()]
    if not estates or not all(specs.complete(kind) for kind in (
            "Estate", *(one.__name__ for one in AROUND))):
        return
    most = max((*estates, *(scope.autonomy for kind in AROUND for one in specs.of(kind).values()
                            if (scope := scope_in(one)).autonomy is not None)),
               key=lambda rung: rung.height)
    for kind in ABOUT:
        for entry in specs.of(kind).values():
            rung = scope_in(entry).autonomy
            if rung is not None and rung.height > most.height:
                yield entry.wrong(
                    f"`autonomy: {rung}` can take effect nowhere: here it can only lower what"
                    f" hosts, sites, VMs and the Estate grant, and {most} is the most that any of"
                    " them does: raise it there, or leave it out here", "spec", "autonomy")


def check_managing(specs: Specs) -> Iterator[Finding]:
    """Yield `manage` where it changes nothing, because ABOUT kinds can only keep steps away."""
    path = ("spec", "manage")
    for kind in ABOUT:
        for entry in specs.of(kind).values():
            manage = scope_in(entry).manage
            if manage is not None and kind is ProtectionPolicy:
                yield entry.wrong("a VM with `protection` is copied whether it is managed or only"
                                  " observed: leave `manage` out here", *path)
            elif manage is Manage.FULL and any(
                    one.document.spec.manage is Manage.OBSERVE
                    for one in specs.of(Estate).values()):
                yield entry.wrong("`manage: full` can take effect nowhere: here it can only keep"
                                  " steps away; write it at hosts, sites, VMs or the Estate",
                                  *path)


def scope_in(entry: Entry[Document]) -> Scope:
    """Return the autonomy, pause and former names of a document."""
    scope: Scope = getattr(entry.document, "spec")  # noqa: B009 -- each kind has its own
    return scope

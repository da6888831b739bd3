"""An import: from hosts that nobody declares to a folder of specs on which the plan is empty.

    hosts ──► facts ──► proposal ──► files ──► validate ──► plan ──► the folder gets its name
     one round of the        pure        beside      as any specs      once, nothing is done
     facts script                                                      (and doctor's probes)

Each arrow can fail, and then the folder is not there: what was written beside it is removed. The
plan is what an operator would see next, made by the same code; it has to be empty, since the specs
only observe. A step in it is a mistake of ours, and a person learns of it here and not later.

What could not be seen (a host that is silent, a daemon that hangs, one domain) is no failure: the
rest is written, each missing part is told, and the same command proposes it later.

In a folder that is there already nothing is written. What the specs do not declare yet is put into
a copy of it, validated and planned in the same way, and shown as a patch.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from controller.adoption.doctor.checkup import Checkup, Ward
from controller.adoption.doctor.estate import judge
from controller.adoption.doctor.finding import Finding
from controller.adoption.host_keys import Belief, KeyVerdict
from controller.adoption.names import free_name, safe_name
from controller.adoption.propose import HOSTS_FILE, Proposal, propose
from controller.adoption.reading import Definition, Reading, Request, is_address
from controller.adoption.sites import SiteGuess, guess_sites
from controller.errors import SpecError
from controller.model.desired import Desired
from controller.model.facts import Known
from controller.plan.steps.plan import Plan
from controller.providers.reader import HostAnswer, HostReader
from controller.reconcile.checkup import checkup_of, probe_host, question_for
from controller.reconcile.host_keys import KeyFinding
from controller.reconcile.once import Once
from controller.reconcile.report.exit_status import ExitStatus, status_of_plan
from controller.source.amend import amend, with_items
from controller.source.load import load_folder
from controller.source.publish import publish, staged, texts_of, unified_diff
from controller.source.templates import NotATemplate, fit_template, parse_template, targets_of
from controller.transport.base import Endpoint

AT_ONCE: Final = 32
PROBES_S: Final = 20.0
"""More than a doctor's look has: it comes at the end of all the rest."""


class Target(NamedTuple):
    """One host as a person named it."""

    asked: str
    address: str
    user: str | None = None
    port: int | None = None


class Step(StrEnum):
    """Where an import failed."""

    READ = "read"
    VALIDATE = "validate"
    PLAN = "plan"


@dataclass(slots=True)
class Imported:
    """What became of an import."""

    proposal: Proposal
    failed: Step | None = None
    problems: list[str] = field(default_factory=list)
    plan: Plan | None = None
    patch: str | None = None
    """What is new, where the folder was there already; None where it was written anew."""
    hosts: int = 0
    findings: list[Finding] = field(default_factory=list)
    """What doctor would say of these hosts."""

    @property
    def status(self) -> ExitStatus:
        """Return the exit status."""
        if self.failed is Step.VALIDATE:
            return ExitStatus.INVALID
        if self.failed is Step.READ:
            return ExitStatus.UNKNOWN
        if self.failed is Step.PLAN:
            return ExitStatus.FAILED if self.plan is None else status_of_plan(self.plan)
        if self.proposal.unseen:
            return ExitStatus.UNKNOWN
        return ExitStatus.PENDING if self.patch else ExitStatus.DONE


NameSite = Callable[[SiteGuess], str]
RunOnce = Callable[[Desired], AbstractAsyncContextManager[Once]]


class Import:
    """One import into one folder; `once` looks and plans as `hotsite plan` does."""

    def __init__(self, reader: HostReader, once: RunOnce, folder: Path,
                 endpoints: Sequence[Endpoint]) -> None:
        self.reader = reader
        self._once, self._folder = once, folder
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}

    async def run(self, targets: Sequence[Target], request: Request,
                  keys: Sequence[KeyFinding] = (), silent: Sequence[str] = (),
                  name_site: NameSite = lambda guess: guess.name) -> Imported:
        """Read the hosts and write the folder, or say why not; `silent` were not even asked.

        Shapes: `keys` are the hosts' keys, which are believed by now.

        Errors: SpecError when the folder is there and its specs are invalid; Refused when it
        cannot be read or written.
        """
        before = texts_of(self._folder) if self._folder.is_dir() else {}
        declared = load_folder(self._folder) if before else None
        answers = await self._read([target.asked for target in targets])
        readings = readings_of(targets, answers, declared)
        sites = {one.name: request.sites[target.asked]
                 for one, target in zip(readings, targets, strict=True)
                 if target.asked in request.sites}
        sites = name_sites(readings, sites, declared, name_site)
        proposal = propose(readings, replace(request, sites=sites), declared)
        proposal.unseen[:0] = silent
        result = Imported(proposal, hosts=sum(isinstance(one.facts, Known) for one in readings))
        if not result.hosts or (declared is None and HOSTS_FILE not in proposal.documents):
            result.failed, result.problems = Step.READ, list(proposal.unseen)
            return result
        if declared is None:
            files = proposal.files()
        else:
            files, unplaced = with_items(before, declared, {
                **{f"Host/{host}": [("attachments", item) for item in some]
                   for host, some in proposal.attached.items()},
                **{f"VirtualMachine/{name}": some for name, some in proposal.items.items()}})
            files = amend(files, proposal.documents, proposal.heads) | proposal.templates
            proposal.unseen += unplaced
        if files == before:
            result.patch = ""
        with staged(self._folder, files) as beside:
            await self._judge(beside, result, readings, keys)
            if result.failed is None and declared is None:
                publish(beside, self._folder)
            elif result.failed is None:
                result.patch = unified_diff(before, files)
        return result

    async def _read(self, names: Sequence[str]) -> dict[str, HostAnswer]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def read(name: str) -> tuple[str, HostAnswer]:
            """Read one host when its turn comes."""
            async with gate:
                return name, await self.reader.read(name, waking=True)

        return dict(await asyncio.gather(*map(read, dict.fromkeys(names))))

    async def _judge(self, beside: Path, result: Imported, readings: Sequence[Reading],
                     keys: Sequence[KeyFinding]) -> None:
        """Validate what was written, and plan on it while the hosts are probed."""
        try:
            desired = load_folder(beside)
        except SpecError as error:
            result.failed, result.problems = Step.VALIDATE, list(error.problems)
            return
        async with self._once(desired) as once:
            plan, ward = await asyncio.gather(
                once.plan(desired), self._probe(desired, readings, keys))
        result.plan, result.findings = plan, judge(ward)
        result.proposal.unseen += [f"{one.target}: {one.sentence}" for one in plan.remarks
                                   if one.unknown]
        if plan.steps:
            result.failed = Step.PLAN
            result.problems = [f"{step.action.symbol} {step.action.verb} {step.action.target}:"
                               f" {step.action.reason}" for step in plan.steps]


    async def _probe(self, desired: Desired, readings: Sequence[Reading],
                     keys: Sequence[KeyFinding]) -> Ward:
        """Return the checkups of the hosts that are declared by now."""
        known = {one.endpoint.address: one for one in keys}
        found = {one.name: one for one in readings if one.name in desired.hosts}
        asked = {name: next(target for target in self._endpoints.values()
                            if target.address == one.address) for name, one in found.items()}

        async def probe(name: str, reading: Reading) -> Checkup:
            """Probe one host, and return its checkup."""
            facts = reading.facts.value if isinstance(reading.facts, Known) else None
            probed = await probe_host(self.reader, asked[name].name,
                                      question_for(name, desired, asked, facts), PROBES_S)
            key = known.get(reading.address) or KeyFinding(
                asked[name], None, KeyVerdict(Belief.BELIEVED, ""))
            return checkup_of(desired, replace(asked[name], name=name),
                              replace(key, verdict=KeyVerdict(Belief.BELIEVED, "")),
                              HostAnswer(reading.facts), probed)

        checkups = await asyncio.gather(*(probe(*item) for item in found.items()))
        return Ward(desired, {one.name: one for one in checkups})


def name_sites(readings: Sequence[Reading], said: Mapping[str, str], declared: Desired | None,
               name_site: NameSite) -> dict[str, str]:
    """Return the site of each host, each guessed one by the name that a person gives it."""
    known = {} if declared is None else {
        name: host.spec.site for name, host in declared.hosts.items()}
    seen = [one for one in readings if isinstance(one.facts, Known)]
    sites = dict(said)
    for guess in guess_sites(seen, said, known):
        if guess.reason and (name := name_site(guess)) != guess.name:
            sites |= dict.fromkeys(guess.hosts, name)
    return sites


def readings_of(targets: Sequence[Target], answers: Mapping[str, HostAnswer],
                declared: Desired | None) -> list[Reading]:
    """Return what the hosts answered, each under the name that it has, or will have."""
    known = {} if declared is None else {
        host.spec.address: name for name, host in declared.hosts.items()}
    taken = set() if declared is None else {*declared.nodes}
    readings = []
    for target in targets:
        answer = answers[target.asked]
        name = known.get(target.address)
        if name is None:
            name = free_name(host_name(target.address, answer.hostname), taken)
        taken.add(name)
        definitions = {uuid: definition(xml) for uuid, xml in answer.definitions.items()}
        readings.append(Reading(name, target.address, answer.facts, definitions,
                                target.user, target.port))
    return readings


def host_name(address: str, hostname: str) -> str:
    """Return what a host is called: as a person called it, else as it calls itself."""
    word = hostname if is_address(address) else address
    return safe_name(word.partition(".")[0] or hostname, f"host-{safe_name(address, 'x')}")


def definition(xml: str) -> Definition:
    """Return a domain's XML, and why it is no template, if it is none."""
    found = parse_template(xml.encode("utf-8", "replace"))
    if isinstance(found, NotATemplate):
        return Definition(xml, found.sentence)
    unfit = fit_template(found, targets_of(found))
    return Definition(xml, "" if unfit is None else unfit.sentence)

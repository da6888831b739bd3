"""From the facts of hosts to the specs of a whole estate, or to what is new in one.

    readings ──► sites ──► claims ──► networks ──► hosts, VMs ──► documents, by file

Sites come first, since networks and VMs say at which they are. Claims come before networks: a
domain that is no VM of its own has no part in anything after it. What is declared already, by a
host's address or a VM's UUID, is left alone: only what nothing declares becomes a document.

Rule 1: what could not be seen is not written as absent: it is named in `unseen`, and the next
        import proposes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from controller.adoption.additions import Addition, additions_of, items_of
from controller.adoption.claims import Claims, Key, weigh
from controller.adoption.hosts import attachment, folders_of, host_document
from controller.adoption.machines import MachineGuess, Surroundings, config_of, guess_machine
from controller.adoption.names import machine_name
from controller.adoption.networks import Wiring, guess_networks, network_document
from controller.adoption.observed import Observed
from controller.adoption.reading import Reading, Request
from controller.adoption.sites import SiteGuess, guess_sites
from controller.adoption.text import Noted, render_file
from controller.model.desired import Desired
from controller.model.facts import Absent, DomainFacts, Known, NodeFacts, Unknown
from controller.plan.survey.networks.attachment import attachment_of

ESTATE_FILE: Final = "estate.yaml"
SITES_FILE: Final = "sites.yaml"
NETWORKS_FILE: Final = "networks.yaml"
HOSTS_FILE: Final = "hosts.yaml"
HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    ESTATE_FILE: ("Written by `hotsite import` from what runs already.",
                  "`manage: observe`: everything is shown and nothing is done. One VM, host or site"
                  " is taken over by `manage: full` in its spec; `hotsite plan` shows first what"
                  " that would do."),
    SITES_FILE: ("Where the hosts are. Two sites that name each other as twins can take over from"
                 " each other.",),
    NETWORKS_FILE: ("What the guests' cards are plugged into.",),
    HOSTS_FILE: ("The hypervisors.",),
}


POLICY: Final = Noted({
    "kind": "ProtectionPolicy", "metadata": {"name": "standard"},
    "spec": {"rpo": Noted("15m", beside="guessed: how much of its last changes a VM may lose"),
             "keep": {"last": 12, "hourly": 24, "daily": 7}}},
    above=("No VM has it yet: `protection: standard` in a VM's spec has it copied to the other"
           " site, also while it is only observed.",))


@dataclass(slots=True)
class Proposal:
    """The documents that an import writes, and what it has to say."""

    documents: dict[str, list[Any]] = field(default_factory=dict)
    """By file; only files that have any."""
    heads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)
    """Domain XML by file."""
    observed: list[Observed] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Sentences about what could not be seen."""
    machines: list[MachineGuess] = field(default_factory=list)
    attached: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By declared host: the attachments to add to it."""
    items: dict[str, list[tuple[str, dict[str, Any]]]] = field(default_factory=dict)
    """By declared VM: its new disks and cards, each with the list that it is added to."""

    def add(self, file: str, document: Any) -> None:
        """Put one document into a file."""
        self.documents.setdefault(file, []).append(document)
        self.heads.setdefault(file, HEADS.get(file, ()))

    def files(self) -> dict[str, str]:
        """Return every file of a new folder as text."""
        texts = {file: render_file(self.documents.get(file, ()), head)
                 for file, head in sorted(self.heads.items())}
        return texts | self.templates


def propose(readings: Sequence[Reading], request: Request,
            declared: Desired | None = None) -> Proposal:
    """Return what an import writes for these hosts; `declared` is what the folder has already."""
    proposal = Proposal()
    seen = {one.name: one.facts.value for one in readings if isinstance(one.facts, Known)}
    proposal.unseen += [f"{one.name} at {one.address}: {reason_of(one.facts)}" for one in readings
                        if not isinstance(one.facts, Known)]
    half = {name: why for name, facts in seen.items() if (why := half_seen(facts))}
    proposal.unseen += [f"{name}: {why}; nothing of it is written" for name, why in half.items()]
    seen = {name: facts for name, facts in seen.items() if name not in half}
    usable = [one for one in readings if one.name in seen]
    guesses = guess_sites(usable, request.sites, {} if declared is None else {
        name: host.spec.site for name, host in declared.hosts.items()})
    sites = {host: guess.name for guess in guesses for host in guess.hosts}
    domains = domains_of(seen, proposal)
    claims = _claims(domains, declared)
    new = {key: one for key, one in domains.items()
           if key not in claims.rivals and _declared_as(one, declared) is None}
    _tell_rivals(claims, domains, declared, proposal)
    configs = {host: [config for (where, _), one in new.items() if where == host
                      for config in (config_of(one),) if config is not None] for host in seen}
    added = [] if declared is None else additions_of(
        {key: (name, one) for key, one in domains.items()
         for name in [_declared_as(one, declared)] if name is not None}, declared)
    for one in added:
        configs[one.host].append(replace(one.config, disks=()))
    wiring = guess_networks(usable, configs, sites, declared)
    _settle(usable, seen, guesses, wiring, request, declared, proposal)
    _propose_machines(usable, seen, new, wiring, claims, sites, declared, proposal)
    if declared is not None:
        _propose_items(added, wiring, claims, sites, declared, proposal)
    return proposal


def reason_of(fact: object) -> str:
    """Return why a fact is not known, in words."""
    if isinstance(fact, Unknown):
        return fact.reason
    return "there is none" if isinstance(fact, Absent) else ""


def half_seen(facts: NodeFacts) -> str:
    """Return which part of a host could not be seen, without which it cannot be written down."""
    parts = {"its VMs": facts.domains, "its pools": facts.pools, "its bridges": facts.bridges,
             "its interfaces": facts.interfaces}
    return "; ".join(f"{what} could not be seen ({fact.reason})" for what, fact in parts.items()
                     if isinstance(fact, Unknown))


def domains_of(seen: Mapping[str, NodeFacts], proposal: Proposal) -> dict[Key, DomainFacts]:
    """Return every domain that was seen, by host and name; the others are told."""
    found: dict[Key, DomainFacts] = {}
    for host, facts in seen.items():
        if isinstance(facts.domains, Known):
            found |= {(host, name): one for name, one in facts.domains.value.items()}
    for (host, name), one in found.items():
        if one.unknown:
            proposal.unseen.append(f"domain {name} on {host}: {one.unknown}")
    return found


def _claims(domains: Mapping[Key, DomainFacts], declared: Desired | None) -> Claims:
    if declared is None:
        return weigh(domains, {}, {})
    machines = declared.virtual_machines
    macs = {nic.mac: name for name, vm in machines.items() for nic in vm.spec.nics}
    mine = {one.uuid.lower() for one in domains.values()
            if _declared_as(one, declared) is not None}
    return weigh({key: one for key, one in domains.items() if one.uuid.lower() not in mine}, macs,
                 {vm.libvirt_name: name for name, vm in machines.items()})


def _declared_as(domain: DomainFacts, declared: Desired | None) -> str | None:
    """Return the VM that a domain is declared as; None if nothing declares it."""
    if declared is None:
        return None
    for name, vm in declared.virtual_machines.items():
        if vm.spec.uuid is not None:
            if vm.spec.uuid.lower() == domain.uuid.lower():
                return name
        elif vm.libvirt_name == domain.name:
            return name
    return None


def _tell_rivals(claims: Claims, domains: Mapping[Key, DomainFacts], declared: Desired | None,
                 proposal: Proposal) -> None:
    for (host, name), why in sorted(claims.rivals.items()):
        if _declared_as(domains[host, name], declared) is None:
            proposal.observed.append(Observed(f"Host/{host}", f"domain {name}", why))


def _settle(usable: Sequence[Reading], seen: Mapping[str, NodeFacts],
            guesses: Sequence[SiteGuess], wiring: Wiring, request: Request,
            declared: Desired | None, proposal: Proposal) -> None:
    """Put down the estate, the sites, the networks and the hosts that nothing declares."""
    reasons = {guess.name: guess.reason for guess in guesses}
    sites = {host: guess.name for guess in guesses for host in guess.hosts}
    if declared is None:
        proposal.add(ESTATE_FILE, estate_document(request))
        proposal.add(ESTATE_FILE, POLICY)
    known_sites = frozenset() if declared is None else frozenset(declared.sites)
    for document in site_documents(guesses, known_sites):
        proposal.add(SITES_FILE, document)
    for network in wiring.networks:
        proposal.add(NETWORKS_FILE, network_document(network, sites))
    for reading in usable:
        if declared is not None and reading.name in declared.hosts:
            spec = declared.hosts[reading.name].spec
            proposal.attached[reading.name] = [
                attachment(name, plug) for name, plug in wiring.attachments(reading.name)
                if any(name == one.name for one in wiring.networks)
                and attachment_of(name, plug.vlan, spec)[:2] != plug]
            continue
        document, observed = host_document(reading, seen[reading.name], sites[reading.name],
                                           wiring, reasons[sites[reading.name]])
        proposal.add(HOSTS_FILE, document)
        proposal.observed += observed


def estate_document(request: Request) -> dict[str, Any]:
    """Return the Estate of a new import."""
    login = request.login
    ssh: dict[str, Any] = {"user": login.user, "keyFile": login.key_file,
                           "knownHosts": login.known_hosts}
    if login.port != 22:
        ssh["port"] = login.port
    return {"kind": "Estate", "metadata": {"name": request.estate},
            "spec": {"manage": Noted("observe", beside="nothing is done anywhere until a nearer"
                                     " scope says `manage: full`"),
                     "ssh": {key: Noted(value) for key, value in ssh.items()}}}


def site_documents(guesses: Sequence[SiteGuess], known: frozenset[str]) -> list[Noted]:
    """Return the sites that nothing declares; two alone are twins."""
    found = []
    for guess in guesses:
        if guess.name in known:
            continue
        spec: dict[str, Any] = {}
        head = [guess.reason] if guess.reason else []
        if len(guesses) == 2 and not known:
            other = next(one.name for one in guesses if one.name != guess.name)
            spec["twin"] = Noted(other, beside="guessed: there are two")
        elif len(guesses) == 1 and not known:
            head.append("Replicas need two sites: a copy beside its VM is lost with it. Give"
                        " the hosts of another room or building a site of their own, and let the"
                        " two name each other as `twin`.")
        else:
            head.append("Which site is its twin is not known: write `twin:` here and there.")
        document: dict[str, Any] = {"kind": "Site", "metadata": {"name": guess.name}}
        if spec:
            document["spec"] = spec
        found.append(Noted(document, above=tuple(head)))
    return found


def _propose_machines(usable: Sequence[Reading], seen: Mapping[str, NodeFacts],
                      domains: Mapping[Key, DomainFacts], wiring: Wiring, claims: Claims,
                      sites: Mapping[str, str], declared: Desired | None,
                      proposal: Proposal) -> None:
    """Put down the VMs that nothing declares, each host's in a file."""
    taken = set() if declared is None else set(declared.virtual_machines)
    for reading in usable:
        host = reading.name
        around = Surroundings(host, sites[host], folders_of(seen[host]), wiring, claims)
        file = f"vms/{host}.yaml"
        left_out: list[str] = []
        for (_, domain_name), domain in sorted(
                (item for item in domains.items() if item[0][0] == host),
                key=lambda item: item[0]):
            name = machine_name(domain_name, domain.uuid, host, taken)
            definition = reading.definitions.get(domain.uuid)
            guess = guess_machine(name, domain, around, definition)
            if isinstance(guess, Observed):
                proposal.observed.append(guess._replace(target=f"Host/{host}"))
                left_out.append(f"Not declared: {guess.what}: {guess.why}")
                continue
            taken.add(name)
            proposal.machines.append(guess)
            proposal.add(file, guess.document)
            proposal.observed += guess.observed
            if guess.template and definition is not None:
                proposal.templates[guess.template] = definition.xml
        left_out += [f"Not declared: domain {name}: {why}"
                     for (where, name), why in sorted(claims.rivals.items()) if where == host]
        if file in proposal.documents or left_out:
            proposal.heads[file] = (f"The VMs of {host}.", *left_out)
        if file not in proposal.documents and left_out:
            proposal.documents[file] = []


def _propose_items(added: Sequence[Addition], wiring: Wiring, claims: Claims,
                   sites: Mapping[str, str], declared: Desired, proposal: Proposal) -> None:
    """Put down what declared VMs have by now that their specs do not list."""
    for one in added:
        pools = {pool.path: pool.name for pool in declared.hosts[one.host].spec.folders} if (
            one.host in declared.hosts) else {}
        around = Surroundings(one.host, sites[one.host], pools, wiring, claims)
        found = items_of(one, around, declared)
        proposal.items[one.machine] = found.added
        proposal.observed += found.observed

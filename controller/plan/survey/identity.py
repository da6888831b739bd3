"""Identity: which VM a domain is, and which other domains have its UUID, a card or a file of it.

Rule 1: a name is no identity. A domain is the VM that our mark names, if the mark was written for
        this very domain; else the VM that declares its UUID; else the VM whose name it has. Never
        is it a VM that declares another UUID.
Rule 2: what was last seen on a silent host still counts, until somebody sees that it is gone.
Rule 3: a path is a file of one host; only in a pool declared shared is it one file on several.

Each host is indexed alone (`HostIndex`, cached while its facts are equal); `Identities` joins the
indexes. Two VMs hardly ever share a key, so conflicts are collected on the way, and only those keys
are then looked at domain by domain, to work out who rivals whom.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import NAMESPACE_URL, uuid5

from controller.model.facts import DomainFacts, Ownership, Role
from controller.model.replica import STORE

REPLICA: Final = f"/{STORE}/"
ALSO_REPLICA: Final = "its replica"
NO_PLACES: Final[frozenset[str]] = frozenset()
PROMISED: Final = "the card that is declared for it, "
Key = tuple[str, ...]
"""`uuid U`, `mac M`, `file HOST PATH`, `inode HOST ID`, or in a shared pool `shared POOL FILE`."""


@dataclass(frozen=True, slots=True)
class Names:
    """The present and former names of the estate and its VMs."""

    estates: frozenset[str]
    present: Mapping[str, str] = field(default_factory=dict)
    """By a VM's former name: its present name."""
    formers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By a VM's present name: its former ones."""
    domains: Mapping[str, str] = field(default_factory=dict)
    uuids: Mapping[str, str] = field(default_factory=dict)
    """By a VM that declares them: what libvirt calls it, and its UUID."""
    by_domain: Mapping[str, str] = field(default_factory=dict)
    by_uuid: Mapping[str, str] = field(default_factory=dict)
    """The VM of each of those."""

    def libvirt_name(self, vm: str) -> str:
        """Return what libvirt calls a VM, or will call it."""
        return self.domains.get(vm, vm)


class Sighting(NamedTuple):
    """A domain seen on a host."""

    host: str
    domain: DomainFacts


class Claim(NamedTuple):
    """A domain on a host, and the VM that it is; `unseen` if it is only remembered."""

    owner: str
    host: str
    domain: DomainFacts
    unseen: bool

    @property
    def runs(self) -> bool:
        """Return whether it holds its disks; a domain that is being received does not."""
        return self.domain.state.active and self.domain.state != "incoming"


class Rival(NamedTuple):
    """A domain of another VM that has this VM's UUID, a card or a file of it."""

    claim: Claim
    shares: tuple[str, ...]
    """In words: `its uuid`, `its card 52:54:…`, `its file /…`."""

    @property
    def doubles(self) -> bool:
        """Return whether both running at once would be two running copies of one VM.

        Reading its replica does not count, nor having a card that the VM does not have yet.
        """
        return any(one != ALSO_REPLICA and not one.startswith(PROMISED) for one in self.shares)

    @property
    def is_now(self) -> bool:
        """Return whether it is about more than a card that the VM does not have yet."""
        return any(not one.startswith(PROMISED) for one in self.shares)

    @property
    def is_more_than_files(self) -> bool:
        """Return whether the rival has the VM's UUID or a card of it."""
        return any(one.startswith(("its uuid", "its card")) for one in self.shares)

    def __str__(self) -> str:
        claim = self.claim
        verb, when = ("had", f" when {claim.host} was last seen") if claim.unseen else ("has", "")
        known = claim.owner if claim.owner == claim.domain.name else (
            f"{claim.owner}, which libvirt calls {claim.domain.name},")
        if claim.owner == stranger(claim.domain.name):
            known = f"a domain {claim.domain.name} (uuid {claim.domain.uuid})"
        return (f"{known} on {claim.host} ({claim.domain.state}) {verb}"
                f" {' and '.join(self.shares)}{when}")


def is_for(mark: Ownership | None, domain: DomainFacts, names: Names) -> bool:
    """Return whether a mark is ours, names a VM, and was written for this very domain."""
    return (mark is not None and mark.name != "" and mark.uuid in {"", domain.uuid}
            and mark.estate in names.estates)


def owner_of(domain: DomainFacts, names: Names) -> str:
    """Return the VM that a domain is, declared or not."""
    mark = domain.ownership
    if mark is not None and is_for(mark, domain, names):
        owner = names.present.get(mark.name, mark.name)
    elif domain.uuid in names.by_uuid:
        return names.by_uuid[domain.uuid]
    elif domain.name in names.by_domain:
        owner = names.by_domain[domain.name]
    elif domain.name in names.domains:      # a VM of this name, which libvirt calls otherwise
        return stranger(domain.name)
    elif mark is not None and mark.estate not in names.estates:
        owner = domain.name
    else:
        owner = names.present.get(domain.name, domain.name)
    if (names.uuids and names.uuids.get(owner, domain.uuid) != domain.uuid
            and not is_drill(domain, names)):
        return stranger(domain.name)
    return owner


def stranger(name: str) -> str:
    """Return the owner of a domain that has a declared VM's name and is not that VM."""
    return f"{name} (another)"


def is_drill(domain: DomainFacts, names: Names) -> bool:
    """Return whether a domain is a drill of ours."""
    mark = domain.ownership
    return mark is not None and mark.role is Role.DRILL and is_for(mark, domain, names)


@dataclass(frozen=True, slots=True)
class DeclaredIdentity:
    """What the specs say about identity; one object as long as the specs are the same."""

    names: Names
    card_owner: Mapping[str, str]
    """The VM of each declared card, by MAC."""
    vlans: frozenset[int | None]
    """None for untagged networks."""
    places: Mapping[str, frozenset[str]]
    """By host: the bridges, and libvirt's networks, that cards are declared on."""
    shared: Mapping[str, Mapping[str, str]]
    """By host: the folder of each pool that is declared shared, with the pool's name."""


@dataclass(frozen=True, slots=True)
class HostIndex:
    """The domains of one host, by UUID, MAC and file."""

    domains: Mapping[str, DomainFacts]
    claims: tuple[Claim, ...]
    sightings: tuple[tuple[str, Sighting], ...]
    uuids: Mapping[str, Claim]
    macs: Mapping[str, Claim]
    files: dict[Key, tuple[Claim, bool]] = field(default_factory=dict)
    shared: dict[Key, tuple[Claim, bool]] = field(default_factory=dict)
    """Files in shared pools, which other hosts see as well."""
    replica_users: dict[str, list[Claim]] = field(default_factory=dict)
    """By the UUID of a replica: the domains that use a file of it."""
    conflicts: set[Key] = field(default_factory=set)
    epochs: tuple[tuple[str, int], ...] = ()
    """By VM that failed over: the epoch in the mark of its domain here."""


def index_host(host: str, domains: Mapping[str, DomainFacts], declared: DeclaredIdentity,
               unseen: bool = False) -> HostIndex:
    """Return the index of one host; `unseen` if its domains are only remembered."""
    names, card_owner = declared.names, declared.card_owner
    claims = tuple(Claim(owner_of(domain, names), host, domain, unseen)
                   for domain in domains.values())
    macs: dict[str, Claim] = {}
    found = HostIndex(domains, claims,
                      tuple((one.owner, Sighting(host, one.domain)) for one in claims),
                      {one.domain.uuid: one for one in claims}, macs,
                      epochs=tuple((one.owner, one.domain.ownership.epoch) for one in claims
                                   if one.domain.ownership is not None
                                   and one.domain.ownership.epoch > 0
                                   and is_for(one.domain.ownership, one.domain, names)))
    for claim in claims:
        owner, domain = claim.owner, claim.domain
        if found.uuids[domain.uuid].owner != owner:
            found.conflicts.add(("uuid", domain.uuid))
        for mac in macs_of(host, domain, declared):
            if (macs.setdefault(mac, claim).owner != owner
                    or card_owner.get(mac, owner) != owner):
                found.conflicts.add(("mac", mac))
        for path, written, identity in files_of(domain):
            if REPLICA not in path:
                for key in keys_of(host, path, identity, declared):
                    into = found.shared if key[0] == "shared" else found.files
                    _take(into, key, (claim, written), found.conflicts)
            elif not is_drill(domain, names):
                uuid = path.partition(REPLICA)[2].partition("/")[0]
                found.replica_users.setdefault(uuid, []).append(claim)
    return found


def _take(into: dict[Key, tuple[Claim, bool]], key: Key, use: tuple[Claim, bool],
          conflicts: set[Key]) -> None:
    """Note a user of a file, and a conflict; a writer takes precedence over readers."""
    first = into.get(key)
    if first is None:
        into[key] = use
        return
    if first[0].owner != use[0].owner and (first[1] or use[1]):
        conflicts.add(key)
    if use[1] and not first[1]:
        into[key] = use


def macs_of(host: str, domain: DomainFacts, declared: DeclaredIdentity) -> Iterable[str]:
    """Return the MACs of a domain; of a drill only those outside its isolated network."""
    live, config = domain.live, domain.config
    drill = is_drill(domain, declared.names)
    places = declared.places.get(host, NO_PLACES)
    return dict.fromkeys(
        nic.mac.lower() for one in (live, config) if one is not None for nic in one.nics
        if nic.mac and not (drill and ((nic.bridge or nic.network) not in places
                                       or nic.vlan not in declared.vlans)))


def keys_of(host: str, path: str, identity: str, declared: DeclaredIdentity) -> Iterator[Key]:
    """Yield the keys of a file."""
    for folder, pool in declared.shared.get(host, {}).items():
        if path.startswith(folder):
            yield "shared", pool, path.removeprefix(folder)
            return
    yield "file", host, path
    if identity:
        yield "inode", host, identity


class Identities:
    """Every domain of every host, by UUID, MAC and file, and who rivals whom."""

    def __init__(self, declared: DeclaredIdentity, hosts: Iterable[HostIndex]) -> None:
        self._declared = declared
        self._hosts = tuple(hosts)
        self._uuids: dict[str, Claim] = {}
        self._macs: dict[str, Claim] = {}
        self._files: dict[Key, tuple[Claim, bool]] = {}
        self._replica_users: dict[str, list[Claim]] = {}
        self._conflicts: set[Key] = set()
        for found in self._hosts:
            self._merge(self._uuids, "uuid", found.uuids)
            self._merge(self._macs, "mac", found.macs)
            self._files.update(found.files)
            for key, use in found.shared.items():
                _take(self._files, key, use, self._conflicts)
            for uuid, replica_users in found.replica_users.items():
                self._replica_users.setdefault(uuid, []).extend(replica_users)
            self._conflicts |= found.conflicts
        self.rivals: Mapping[str, tuple[Rival, ...]] = self._rivals()

    def _merge(self, into: dict[str, Claim], kind: str, more: Mapping[str, Claim]) -> None:
        """Add the UUIDs or cards of one host; the first host to have one keeps it."""
        if not into.keys().isdisjoint(more):
            self._conflicts.update((kind, one) for one in into.keys() & more.keys()
                                 if into[one].owner != more[one].owner)
            more = {**more, **{one: into[one] for one in into.keys() & more.keys()}}
        into.update(more)

    def _rivals(self) -> dict[str, tuple[Rival, ...]]:
        """Return, by VM, the domains of other VMs that have something of it."""
        found: dict[str, dict[int, tuple[Claim, list[str]]]] = {}
        for key, group in self._groups().items():
            owners = {claim.owner for claim, _ in group}
            heir = self._declared.card_owner.get(key[1]) if key[0] == "mac" else None
            if heir is not None and heir not in owners:
                for claim, _ in group:
                    _note(found, heir, claim, f"{PROMISED}{key[1]}")
            for owner in sorted(owners):
                writes = key[0] not in {"file", "inode", "shared"} or any(
                    written for claim, written in group if claim.owner == owner)
                for claim, written in group:
                    if claim.owner != owner and (writes or (written and claim.runs)):
                        _note(found, owner, claim, _words(key, claim))
        for uuid, replica_users in self._replica_users.items():
            kept = self._uuids.get(uuid)
            for claim in replica_users:
                if kept is not None and kept.owner != claim.owner:
                    _note(found, kept.owner, claim, ALSO_REPLICA)
        return {owner: tuple(Rival(claim, tuple(shares)) for claim, shares in sorted(
            them.values(), key=lambda one: (one[0].host, one[0].domain.name)))
            for owner, them in found.items()}

    def _groups(self) -> dict[Key, list[tuple[Claim, bool]]]:
        """Return, by key in conflict, every domain that has it, and whether it writes to it."""
        groups: dict[Key, list[tuple[Claim, bool]]] = {key: [] for key in self._conflicts}
        declared = self._declared
        for claim in (one for found in self._hosts for one in found.claims) if groups else ():
            keys: dict[Key, bool] = {("uuid", claim.domain.uuid): True}
            keys |= {("mac", mac): True for mac in macs_of(claim.host, claim.domain, declared)}
            for path, written, identity in files_of(claim.domain):
                for key in keys_of(claim.host, path, identity, declared):
                    keys[key] = keys.get(key, False) or written
            for key in keys.keys() & groups.keys():
                groups[key].append((claim, keys[key]))
        return groups

    def awaiting(self, name: str, uuids: Iterable[str], macs: Iterable[str]) -> tuple[Rival, ...]:
        """Return which domains have what a VM would be given that exists nowhere yet."""
        found: dict[str, dict[int, tuple[Claim, list[str]]]] = {}
        for rival in self.rivals.get(name, ()):
            for words in rival.shares:
                if not words.startswith(PROMISED):
                    _note(found, name, rival.claim, words)
        for uuid in uuids:
            if uuid in self._uuids:
                _note(found, name, self._uuids[uuid], "its uuid")
            for claim in self._replica_users.get(uuid, ()):
                _note(found, name, claim, ALSO_REPLICA)
        for mac in macs:
            if mac in self._macs:
                _note(found, name, self._macs[mac], f"its card {mac}")
        return tuple(Rival(claim, tuple(shares)) for claim, shares in found.get(name, {}).values())

    def holder_of(self, name: str, mac: str) -> Rival | None:
        """Return the domain of another VM that has a card, if any."""
        claim = self._macs.get(mac.lower())
        if claim is None or claim.owner == name:
            return None
        return Rival(claim, (f"the card {mac}",))

    def user_of(self, name: str, host: str, path: str, identity: str = "") -> Rival | None:
        """Return the domain of another VM that uses the file at `path` of `host`, if any."""
        for key in keys_of(host, path, identity, self._declared):
            first = self._files.get(key)
            if first is not None and first[0].owner != name:
                return Rival(first[0], (f"the file {path}",))
        return None


def files_of(domain: DomainFacts) -> Iterable[tuple[str, bool, str]]:
    """Return path, whether it is written to, and identity of each file behind a domain's disks.

    If the host reported no files, its disks are taken for files that it writes to.
    """
    if domain.files:
        return [(use.path, use.written, use.identity) for use in domain.files]
    live, config = domain.live, domain.config
    disks = () if live is None else live.disks
    if config is not None and config.disks is not disks:
        disks = (*disks, *config.disks)
    return [(path, own, "") for path, own in
            {disk.source: not (disk.readonly or disk.shareable) for disk in disks}.items() if path]


def _note(found: dict[str, dict[int, tuple[Claim, list[str]]]], owner: str, claim: Claim,
          words: str) -> None:
    """Note, once, that a domain has something of `owner`."""
    if claim.owner == owner:
        return
    shares = found.setdefault(owner, {}).setdefault(id(claim), (claim, []))[1]
    if words not in shares:
        shares.append(words)


def _words(key: Key, claim: Claim) -> str:
    """Return in words what a rival has."""
    match key:
        case ("uuid", _):
            return "its uuid"
        case ("mac", mac):
            return f"its card {mac}"
        case ("file", _, path):
            return f"its file {path}"
        case ("shared", pool, file):
            return f"its file {file} of the shared pool {pool}"
        case _:
            path = next((use.path for use in claim.domain.files if use.identity == key[2]), "")
            return f"its file {path}"


def domain_uuid(estate: str, vm: str) -> str:
    """Return the UUID that a new domain of `vm` gets if it declares none; always the same."""
    return str(uuid5(NAMESPACE_URL, f"hotsite:{estate}/{vm}"))


def domain_uuids(names: Names, vm: str) -> tuple[str, ...]:
    """Return the declared UUID of `vm`, or all that we may have given it under any name."""
    if vm in names.uuids:
        return (names.uuids[vm],)
    return tuple(domain_uuid(estate, name) for estate in sorted(names.estates)
                 for name in (vm, *names.formers.get(vm, ())))

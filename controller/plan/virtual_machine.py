"""Virtual machines: from where a VM stands to what brings it where it should be."""

from dataclasses import dataclass

from controller.model.facts import DomainFacts, DomainState, Known
from controller.model.host import Host
from controller.model.virtual_machine import Power, VirtualMachine
from controller.plan.actions import (
    Cause,
    CreateDisk,
    DefineDomain,
    DisableAutostart,
    MigrateDomain,
    ReconfigureDomain,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.domain import (
    disk_changes,
    disk_file,
    disk_wish,
    domain_uuid,
    domain_wish,
    is_as_declared,
    nic_changes,
    ownership_of,
    sizing_changes,
)
from controller.plan.draft import Draft, cause_of
from controller.plan.host import pool_of
from controller.plan.standing import Stand, Standing, start_blocker
from controller.plan.survey import Sighting, Survey
from controller.plan.wishes import AttachDisk, DiskWish, DomainChange, SetOwnership

__all__ = ["Case", "diff_virtual_machine", "domain_uuid"]


@dataclass(frozen=True, slots=True)
class Case:
    """One VM under consideration: what it is, where it stands, where it should be."""

    vm: VirtualMachine
    stand: Stand
    goal: str | None
    """The host that placement chose; None where it found none."""
    why: str
    """Why it should move to `goal`, or why there is no goal."""
    survey: Survey
    draft: Draft

    @property
    def target(self) -> str:
        """Return `VirtualMachine/name`."""
        return f"VirtualMachine/{self.vm.metadata.name}"

    @property
    def cause(self) -> Cause:
        """Return whether the specs of the VM or of its networks moved, or the world did."""
        return cause_of(self.survey.policy, self.target,
                        *(f"Network/{nic.network}" for nic in self.vm.spec.nics))


def diff_virtual_machine(case: Case) -> None:
    """Note what differs on one VM."""
    standing = case.stand.standing
    if standing is Standing.RUNNING:
        _diff_running(case)
    elif standing is Standing.OFF:
        _diff_off(case)
    elif standing is Standing.NOWHERE:
        _create(case)
    elif standing is Standing.DOUBLE:
        case.draft.stall(case.target, "TwoRunningCopies", case.stand.sentence)
    elif standing is Standing.SPLIT:
        case.draft.stall(case.target, "SeveralCopies", case.stand.sentence)
    else:
        case.draft.remark(case.target, case.stand.sentence, unknown=standing is Standing.HIDDEN)


def _diff_running(case: Case) -> None:
    vm, stand, draft = case.vm, case.stand, case.draft
    domain, host = stand.domain, stand.host
    assert domain is not None
    assert host is not None
    name = vm.name
    for ghost, last in case.survey.ghosts.get(name, ()):
        if last.state.active:
            draft.remark(case.target, f"{name} runs on {host}; {ghost}, which"
                         f" {case.survey.silence(ghost)}, was last seen with it, too",
                         unknown=True)
    if vm.spec.power is Power.OFF:
        draft.do(ShutDownDomain(
            target=case.target, node=host, domain=name, limit_s=vm.spec.shutdown_limit_s,
            reason=f"{name} is {domain.state} on {host} and declared off",
            consequence="clean shutdown", cause=case.cause))
        return
    if domain.state is not DomainState.RUNNING:
        _wake(case, host, domain)
        return
    _forget_copies(case, stand.others)
    last_id = _reconcile_config(case, host, domain)
    if case.goal is not None and case.goal != host:
        _migrate(case, host, domain, last_id)


def _wake(case: Case, host: str, domain: DomainFacts) -> None:
    name = case.vm.name
    if domain.state is DomainState.PAUSED and domain.state_reason == "user":
        case.draft.do(ResumeDomain(
            target=case.target, node=host, domain=name, cause=case.cause,
            reason=f"{name} is paused on {host} and declared on", consequence="it runs on"))
    elif domain.state is DomainState.PAUSED and domain.state_reason == "ioerror":
        case.draft.stall(case.target, "PausedOnError",
                         f"{name} is paused on {host} because a disk of it could not be written:"
                         f" free space in its pool, then `virsh resume {name}` there")
    else:
        case.draft.stall(case.target, "PausedForAReason",
                         f"{name} is {domain.state} on {host} ({domain.state_reason}):"
                         " nothing is done; look there and resume it by hand")


def _forget_copies(case: Case, others: tuple[Sighting, ...]) -> None:
    for host, domain in others:
        if host != case.goal and domain.persistent:
            case.draft.do(UndefineDomain(
                target=case.target, node=host, domain=case.vm.name,
                reason=f"{case.vm.name} runs on {case.stand.host}; {host} still has an old"
                       " definition of it, which is off",
                consequence="its disks there stay"))


def _reconcile_config(case: Case, host_name: str, domain: DomainFacts) -> str | None:
    """Note the patches of a domain; return the id of the last one, if any."""
    host = case.survey.desired.hosts[host_name]
    last: str | None = None
    if domain.config is None:
        last = case.draft.do(DefineDomain(
            target=case.target, node=host_name, cause=case.cause,
            wish=domain_wish(case.vm, host, domain.uuid, case.survey),
            reason=f"{case.vm.name} runs on {host_name} but is not defined there:"
                   " it would be gone when it stops"))
    if domain.autostart:
        case.draft.do(DisableAutostart(
            target=case.target, node=host_name, domain=case.vm.name,
            reason=f"libvirt on {host_name} would start {case.vm.name} by itself, without knowing"
                   " whether it runs elsewhere"))
    bridge = host.spec.bridge
    if ((domain.live is None or is_as_declared(case.vm, domain.live, bridge, case.survey))
            and (domain.config is None
                 or is_as_declared(case.vm, domain.config, bridge, case.survey))
            and (domain.config is None or domain.ownership == ownership_of(case.vm, case.survey))):
        return last
    return _patch(case, host, domain) or last


def _patch(case: Case, host: Host, domain: DomainFacts) -> str | None:
    vm, draft, survey = case.vm, case.draft, case.survey
    live_words: list[str] = []
    config_words: list[str] = []
    restarts: list[str] = []
    live: list[DomainChange] = []
    config: list[DomainChange] = []
    cause = case.cause
    def quiet(_: str) -> None:
        return None
    def remark(sentence: str) -> None:
        draft.remark(case.target, sentence)
    if domain.live is not None:
        seen = domain.live
        live += sizing_changes(vm, seen, live=True, say=live_words.append, restart=restarts.append)
        live += nic_changes(vm, seen, host, survey, live=True, say=live_words.append,
                            restart=restarts.append)
        live += disk_changes(vm, seen, host, grow=True, say=live_words.append, remark=remark)
    if domain.config is not None:
        seen = domain.config
        off = domain.live is None
        config += sizing_changes(vm, seen, live=False, say=config_words.append, restart=quiet)
        config += nic_changes(vm, seen, host, survey, live=False, say=config_words.append,
                              restart=quiet)
        config += disk_changes(vm, seen, host, grow=off, say=config_words.append,
                               remark=remark if off else quiet)
        if domain.ownership != ownership_of(vm, survey):
            config.append(SetOwnership(ownership_of(vm, survey)))
            config_words.append(_ownership_words(vm, domain))
            cause = Cause.COMMIT if domain.ownership is None else cause
    before = _missing_disks(case, host, (*live, *config), cause)
    ids = before
    if live:
        ids = (draft.do(ReconfigureDomain(
            target=case.target, node=host.name, domain=vm.name, changes=tuple(live), live=True,
            reason=_sentence(vm.name, live_words), consequence="live", cause=cause), before),)
    rest = tuple(change for change in config if change not in live)
    if rest:
        ids = (*ids, draft.do(ReconfigureDomain(
            target=case.target, node=host.name, domain=vm.name, changes=rest, live=False,
            reason=_sentence(vm.name, config_words), cause=cause,
            consequence="for its next start" if domain.live is not None else "while it is off"),
            ids))
    if restarts:
        ids = (draft.do(RestartDomain(
            target=case.target, node=host.name, domain=vm.name, cause=cause,
            limit_s=vm.spec.shutdown_limit_s, reason=_sentence(vm.name, restarts),
            consequence="cold restart"), ids),)
    return ids[-1] if ids else None


def _sentence(name: str, words: list[str]) -> str:
    return f"{name}: {'; '.join(dict.fromkeys(words))}"


def _ownership_words(vm: VirtualMachine, domain: DomainFacts) -> str:
    if domain.ownership is None:
        return "it exists and is declared now: it is taken over as it is"
    return f"its mark says deletion {domain.ownership.deletion} and {vm.spec.deletion} is declared"


def _missing_disks(case: Case, host: Host, changes: tuple[DomainChange, ...],
                   cause: Cause) -> tuple[str, ...]:
    pools = case.survey.pools(host.name) or {}
    disks = {change.disk.target: change.disk for change in changes
             if isinstance(change, AttachDisk)}
    ids: list[str] = []
    for _, disk in sorted(disks.items()):
        pool = pools.get(disk.pool)
        if pool is None or disk.path.rpartition("/")[2] not in pool.volumes:
            ids.append(case.draft.do(CreateDisk(
                target=case.target, node=host.name, disk=disk, cause=cause,
                reason=f"{case.vm.name}'s disk {disk.target} is declared and has no file"),
                _pool_first(host.name, disk.pool, pools)))
    return tuple(ids)


def _pool_first(host: str, pool: str, pools: object) -> tuple[str, ...]:
    """Return the id of the action that creates the pool, should one be planned."""
    return (f"create-pool:Host/{host}@{host}/{pool}",)


def _diff_off(case: Case) -> None:
    vm, stand = case.vm, case.stand
    domain, host = stand.domain, stand.host
    assert domain is not None
    assert host is not None
    if vm.spec.power is Power.OFF:
        _reconcile_config(case, host, domain)
        if case.goal is not None and case.goal != host:
            case.draft.remark(case.target, f"{vm.name} is off on {host} and belongs on"
                              f" {case.goal}: it moves when it next runs")
        return
    blocker = start_blocker(vm.name, host, case.survey)
    last = _reconcile_config(case, host, domain)
    if blocker is not None:
        case.draft.remark(case.target, blocker, unknown=True)
        return
    start = case.draft.do(StartDomain(
        target=case.target, node=host, domain=vm.name, cause=case.cause,
        reason=f"{vm.name} is {domain.state} on {host}"
               f" ({domain.state_reason or 'no reason given'}) and declared on",
        consequence="it boots"),
        (last,) if last else (), vm.spec.start_order)
    if case.goal is not None and case.goal != host:
        _migrate(case, host, domain, start)


def _create(case: Case) -> None:
    vm, survey, draft = case.vm, case.survey, case.draft
    if case.goal is None:
        draft.remark(case.target, f"{vm.name} is declared and exists nowhere, and cannot be"
                     f" created: {case.why}")
        return
    host = survey.desired.hosts[case.goal]
    pools = survey.pools(host.name) or {}
    ids: list[str] = []
    for disk in vm.spec.disks:
        pool = pools.get(disk.pool)
        if pool is not None and disk_file(vm.name, disk) in pool.volumes:
            continue
        image = f" from {disk.image}" if disk.image else ""
        ids.append(draft.do(CreateDisk(
            target=case.target, node=host.name, disk=disk_wish(vm, disk, host), cause=case.cause,
            reason=f"{vm.name} is declared; its disk {disk.name}{image} does not exist anywhere"),
            _pool_first(host.name, disk.pool, pools)))
    first = (*ids, f"create-bridge:Host/{host.name}@{host.name}")
    define = draft.do(DefineDomain(
        target=case.target, node=host.name, wish=domain_wish(vm, host, None, survey),
        reason=f"{vm.name} is declared and defined on no host", cause=case.cause), first)
    if vm.spec.power is Power.ON:
        draft.do(StartDomain(
            target=case.target, node=host.name, domain=vm.name, cause=case.cause,
            reason=f"{vm.name} is declared on", consequence="it boots"),
            (define,), vm.spec.start_order)


def _migrate(case: Case, source: str, domain: DomainFacts, after: str | None) -> None:
    vm, survey, draft = case.vm, case.survey, case.draft
    assert case.goal is not None
    there, here = survey.desired.hosts[case.goal], survey.desired.hosts[source]
    missing = [disk.pool for disk in vm.spec.disks if pool_of(there, disk.pool) is None]
    if missing:
        draft.remark(case.target, f"{vm.name} belongs on {case.goal} ({case.why}), but that host"
                     f" declares no pool {missing[0]}: declare it there")
        return
    shared = bool(vm.spec.disks) and all(
        getattr(pool_of(host, disk.pool), "shared", False)
        for disk in vm.spec.disks for host in (here, there))
    disks = _disks_there(case, domain, there, shared=shared)
    total = sum(disk.size_bytes for disk in disks)
    with_storage = bool(disks) and not shared
    draft.do(MigrateDomain(
        target=case.target, node=source, domain=vm.name, to=there.name,
        to_address=there.spec.address,
        to_replication_address=there.spec.replication_address or there.spec.address,
        with_storage=with_storage, disks=disks,
        cause=cause_of(survey.policy, case.target, f"Host/{source}", f"Host/{there.name}"),
        reason=f"{vm.name} is on {source} and belongs on {there.name}: {case.why}",
        consequence=f"live, {_gib(total)} of disks to copy" if with_storage else "live"),
        (*((after,) if after else ()), f"create-bridge:Host/{there.name}@{there.name}",
         *(f"create-pool:Host/{there.name}@{there.name}/{disk.pool}" for disk in vm.spec.disks)))


def _disks_there(case: Case, domain: DomainFacts, there: Host, *,
                 shared: bool) -> tuple[DiskWish, ...]:
    config = domain.live or domain.config
    seen = {disk.target: disk for disk in config.disks} if config is not None else {}
    wishes: list[DiskWish] = []
    for disk in case.vm.spec.disks:
        wish = disk_wish(case.vm, disk, there)
        found = seen.get(disk.name)
        if found is None:
            wishes.append(wish)
            continue
        wishes.append(DiskWish(disk.name, disk.pool, found.source if shared else wish.path,
                               found.format, max(disk.size_bytes, found.size_bytes or 0)))
    return tuple(wishes)


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.3g} GiB"


def home_of(vm: VirtualMachine, survey: Survey) -> tuple[str, ...]:
    """Return the hosts where disk files of a VM that is defined nowhere lie, sorted."""
    found = []
    for host in sorted(survey.domains):
        pools = survey.pools(host) or {}
        if any(disk_file(vm.name, disk) in pools[disk.pool].volumes
               for disk in vm.spec.disks if disk.pool in pools):
            found.append(host)
    return tuple(found)


def is_fresh(host: str, survey: Survey) -> bool:
    """Return whether the facts of `host` are young enough to act on."""
    fact = survey.observed.nodes.get(host)
    limit_s = survey.desired.estate.spec.limits.fact_age_s
    return isinstance(fact, Known) and survey.now_s - fact.observed_at <= limit_s

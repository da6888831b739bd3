"""Capability: whether a host could boot a VM: its machine type, processor model, devices, firmware.

Rule 1: what a host's libvirt does not tell is unknown, and counts neither for nor against it.
Rule 2: a misfit either prevents the start, or leaves something of the VM behind, or is worth
        knowing; only the first keeps a VM from coming back.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from controller.model.facts import DeviceFacts, DiskFacts, DomainConfig, DomainFacts, PoolFacts
from controller.model.failover.capabilities import Capabilities
from controller.plan.machine.device_support import device_name, is_emulated_tpm, name_of
from controller.plan.survey.silence import last_of
from controller.plan.survey.survey import NEVER_ASKED, Survey

PASSTHROUGH: Final = frozenset({"host-passthrough", "maximum"})
"""Modes in which a guest sees the processor that its host happens to have."""
STAYS_BEHIND: Final = frozenset({"tpm", "pstore"})
"""Devices without whose contents a guest starts all the same."""
TIED: Final = frozenset({"hostdev", "filesystem", "nvdimm", "virtio-pmem", "shmem", "sgx-epc",
                         "launchSecurity"})
"""Devices that the definition names by something of its host: a start elsewhere fails."""


class Effect(StrEnum):
    """What a misfit does."""

    PREVENTS = "prevents"
    UNKNOWN = "unknown"
    LEAVES_BEHIND = "leaves behind"
    TELLS = "tells"


class Misfit(NamedTuple):
    """One thing of a VM that another host has not, or has otherwise."""

    reason: str
    sentence: str
    effect: Effect


def misfits(config: DomainConfig, host: str, can: Capabilities | None,
            home: Capabilities | None) -> tuple[Misfit, ...]:
    """Return what a VM, as defined, would not find on a host, media aside; none for nearly all.

    Shapes: `can` is of that host, `home` of the one it runs on; each None if unknown.
    """
    return (*_guest_misfits(config, host, can), *_firmware_misfits(config, host, can, home),
            *(one for device in config.devices for one in _device_misfits(device, host, can)))


def media_misfits(config: DomainConfig, host: str,
                  pools: Mapping[str, PoolFacts] | None) -> tuple[Misfit, ...]:
    """Return which media of a VM a host does not have; `pools` are None if unknown."""
    return tuple(one for medium in config.media for one in _medium_misfits(medium, host, pools))


def _guest_misfits(config: DomainConfig, host: str, can: Capabilities | None) -> Iterator[Misfit]:
    if can is None and (config.machine or config.cpu_model):
        yield Misfit("NotTold", f"{host} has not told which machine types and processors it has",
                     Effect.UNKNOWN)
    why = None if can is None else lacking(config, host, can)
    if why is not None:
        yield Misfit("CannotRunThere", why, Effect.PREVENTS)
    if config.cpu_mode in PASSTHROUGH:
        yield Misfit("AnotherProcessor", f"with `{config.cpu_mode}` it sees the processor that"
                     f" {host} happens to have: what is licensed to the old one may notice",
                     Effect.TELLS)


def _firmware_misfits(config: DomainConfig, host: str, can: Capabilities | None,
                      home: Capabilities | None) -> Iterator[Misfit]:
    if not config.loader or (can is not None and config.loader in can.loaders):
        return
    if can is not None and can.loaders and home is not None and config.loader in home.loaders:
        yield Misfit("FirmwareMissing", f"{host} does not have its firmware {config.loader}:"
                     " install the same package there", Effect.PREVENTS)
    else:
        yield Misfit("FirmwareUnknown", f"nobody knows whether {host} has its firmware"
                     f" {config.loader}: look there", Effect.UNKNOWN)


def _medium_misfits(medium: DiskFacts, host: str,
                    pools: Mapping[str, PoolFacts] | None) -> Iterator[Misfit]:
    if not medium.source or medium.type == "network" or medium.startup_policy == "optional":
        return
    folder, _, file = medium.source.rpartition("/")
    if any(pool.path.rstrip("/") == folder and file in pool.volumes
           for pool in (pools or {}).values()):
        return
    if medium.type == "file" and (pools is None or all(
            pool.path.rstrip("/") != folder for pool in pools.values())):
        yield Misfit("MediumUnknown", f"nobody knows whether {host} has a file like its"
                     f" {name_of(medium)}: eject it, or set its startupPolicy to optional",
                     Effect.UNKNOWN)
    else:
        yield Misfit("MediumMissing", f"{host} does not have its {name_of(medium)}: eject it, or"
                     " set its startupPolicy to optional", Effect.PREVENTS)


def _device_misfits(device: DeviceFacts, host: str, can: Capabilities | None) -> Iterator[Misfit]:
    if is_emulated_tpm(device):
        if can is None or not can.tpms:
            yield Misfit("TpmUnknown", f"{host} has not told whether it can emulate its TPM:"
                         " install swtpm there", Effect.UNKNOWN)
        elif "emulator" not in can.tpms:
            yield Misfit("TpmMissing", f"{host} cannot emulate its TPM: install swtpm there",
                         Effect.PREVENTS)
    elif device.kind in STAYS_BEHIND:
        yield Misfit("StaysBehind", f"what its {device_name(device)} holds stays where it is: it"
                     f" would begin empty on {host}", Effect.LEAVES_BEHIND)
    elif device.kind in TIED:
        yield Misfit("TiedToItsHost", f"its {device_name(device)} is of its host, and a start on"
                     f" {host} would fail", Effect.PREVENTS)
    elif device.kind != "nvram":
        yield Misfit("DeviceUnknown", f"its {device_name(device)} is not known here: nobody knows"
                     f" whether it would start on {host}", Effect.UNKNOWN)


def cannot_run(domain: DomainFacts | None, host: str, survey: Survey) -> str | None:
    """Return why a host could not boot a domain; None if it could, or that is unknown."""
    config = None if domain is None else domain.config or domain.live
    can = capabilities_of(host, survey)
    return None if config is None or can is None else lacking(config, host, can)


def capabilities_of(host: str, survey: Survey) -> Capabilities | None:
    """Return what a host can run, as last told; None if it never told."""
    node = last_of(survey.observed.nodes.get(host, NEVER_ASKED))
    return None if node is None else last_of(node.capabilities)


def lacking(config: DomainConfig, host: str, can: Capabilities) -> str | None:
    """Return which machine type or processor model a host lacks for a VM; None if neither."""
    machines, models = _sets(can)
    if config.machine and machines and config.machine not in machines:
        return f"{host} has no machine type {config.machine}{_newest(config.machine, can.machines)}"
    if config.cpu_model and models and config.cpu_model not in models:
        return f"{host} has no processor model {config.cpu_model}"
    return None


@lru_cache(maxsize=4096)
def _sets(can: Capabilities) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(can.machines), frozenset(can.models)


def _newest(machine: str, machines: Iterable[str]) -> str:
    """Return the newest machine type of the same kind that a host has, in words."""
    kind = machine.rpartition("-")[0]
    like = [one for one in machines if kind and one.rpartition("-")[0] == kind]
    like.sort(key=lambda one: [int(part) if part.isdigit() else 0
                               for part in one.rpartition("-")[2].split(".")])
    return f" (its newest is {like[-1]})" if like else ""


def versions_at(site: str, program: str, survey: Survey) -> tuple[str, ...]:
    """Return the versions of a program on the hosts of a site, as last seen, sorted."""
    found = set()
    for host in survey.hosts_of_site.get(site, ()):
        node = last_of(survey.observed.nodes.get(host, NEVER_ASKED))
        if node is not None and program in node.versions:
            found.add(".".join(node.versions[program].split(".")[:2]))
    return tuple(sorted(found))

"""Survivable and NotPortable of single VMs: what ties a VM to its host, and what to do about it."""

from dataclasses import replace
from typing import Any

import pytest

from controller.model.facts import DeviceFacts, DiskFacts, Known, Observed, VolumeFacts
from controller.model.failover.capabilities import Capabilities
from controller.plan.compute import compute
from tests.plan import builders as b
from tests.plan import replicas as r
from tests.plan.conditions.test_survivable import seen, with_hardware

OVMF = "/usr/share/OVMF/OVMF_CODE_4M.fd"
BOTH = Capabilities(("pc-q35-7.2",), ("Skylake",), (OVMF,))
BARE = Capabilities(("pc-q35-7.2",), ("Skylake",), ("/usr/share/seabios/bios.bin",))
ISO = DiskFacts("sda", "/var/lib/libvirt/images/setup.iso", "raw", 1, device="cdrom")


def lab(*more: Any, **sql: Any) -> Any:
    return b.small(b.vm("sql", protection="gold", **({"placement": {"site": "paris"}} | sql)),
                   *more)


def said(desired: Any, observed: Observed, kind: str) -> tuple[str, str, str] | None:
    return next(((one.status.value, one.reason, one.message) for one in
                 compute(desired, observed, b.APPLIED, b.NOW_S).conditions
                 if (one.target, one.type) == ("VirtualMachine/sql", kind)), None)


def made_of(desired: Any, can: dict[str, Capabilities], **config: Any) -> Observed:
    """What is seen of the VM with such a definition, and of hosts that can run such guests."""
    found = replace(b.config_of("sql", "paris-1", desired), **config)
    observed = r.asked(b.as_declared(desired, {"sql": "paris-1"}), desired)
    observed = b.with_domain(observed, "paris-1", "sql", b.domain(
        "sql", "paris-1", desired, live=found, config=found))
    observed = r.with_replica(observed, "milan-1", r.replica("sql", r.series(12, 60)))
    for host, capabilities in can.items():
        fact = observed.nodes[host]
        assert isinstance(fact, Known)
        observed = b.with_node(observed, host, Known(replace(
            fact.value, capabilities=Known(capabilities, b.NOW_S)), b.NOW_S))
    return observed


ALL = {"paris-1": BOTH, "milan-1": BOTH}


def test_a_replica_on_a_host_without_room_is_told_of_its_vm_with_what_to_do() -> None:
    desired = lab()
    observed = seen(desired, {"sql": "paris-1"}, {"sql": "milan-1"})
    assert said(desired, observed, "Survivable") is None
    small = with_hardware(observed, "milan-1", memory_bytes=b.GIB, memory_available_bytes=b.GIB)
    assert said(desired, small, "Survivable") == (
        "false", "MemoryShort", "milan-1 has 512MiB of memory left and it needs 2GiB: move VMs away"
        " from that host, or add memory there")


def test_what_protected_says_already_is_not_said_again() -> None:
    desired = lab()
    assert said(desired, seen(desired, {"sql": "paris-1"}, {}), "Survivable") is None


def test_a_group_without_one_instant_is_told() -> None:
    desired = lab(b.vm("app", protection="gold", group="shop", placement={"site": "paris"}),
                  group="shop")
    observed = seen(desired, {"sql": "paris-1", "app": "paris-2"}, {"sql": "milan-1"})
    observed = r.with_replica(observed, "milan-2", r.replica("app", r.series(3, 100, 1)))
    answer = said(desired, observed, "Survivable")
    assert answer is not None
    assert answer[:2] == ("false", "GroupSkew")


def test_a_group_that_a_move_has_split_is_told_how_it_comes_together() -> None:
    desired = lab(b.vm("app", protection="gold", group="shop", placement={"site": "paris"}),
                  group="shop")
    observed = seen(desired, {"sql": "paris-1", "app": "milan-2"}, {"sql": "milan-1"})
    answer = said(desired, observed, "Survivable")
    assert answer == (
        "false", "GroupSplit", "app of its group shop is not lost with it and would go on as of"
        " now: have them at one site: `hotsite failover Group/shop --planned` moves those at home"
        " away, too, and `hotsite failback Group/shop` those away home")


@pytest.mark.parametrize("config", [
    {}, {"machine": "pc-q35-7.2", "cpu_model": "Skylake", "loader": OVMF, "cpu_mode": "custom"},
    {"devices": (DeviceFacts("nvram", "/var/lib/libvirt/qemu/nvram/sql_VARS.fd"),)},
    {"media": (replace(ISO, source=""),)}, {"media": (replace(ISO, startup_policy="optional"),)}])
def test_what_the_other_host_has_too_is_portable(config: dict[str, Any]) -> None:
    desired = lab()
    assert said(desired, made_of(desired, ALL, **config), "NotPortable") is None


@pytest.mark.parametrize(("config", "can", "expected"), [
    ({"machine": "pc-q35-10.0"}, ALL, (
        "true", "CannotRunThere",
        "milan-1 has no machine type pc-q35-10.0 (its newest is pc-q35-7.2)")),
    ({"cpu_model": "EPYC"}, ALL, (
        "true", "CannotRunThere", "milan-1 has no processor model EPYC")),
    ({"loader": OVMF}, {"paris-1": BOTH, "milan-1": BARE}, (
        "true", "FirmwareMissing", f"milan-1 does not have its firmware {OVMF}: install the same"
        " package there")),
    ({"loader": "/opt/own.fd"}, ALL, (
        "unknown", "FirmwareUnknown",
        "nobody knows whether milan-1 has its firmware /opt/own.fd: look there")),
    ({"machine": "pc-q35-7.2"}, {}, (
        "unknown", "NotTold",
        "milan-1 has not told which machine types and processors it has")),
    ({"cpu_mode": "host-passthrough"}, ALL, (
        "false", "AnotherProcessor", "with `host-passthrough` it sees the processor that milan-1"
        " happens to have: what is licensed to the old one may notice")),
    ({"devices": (DeviceFacts("hostdev", "0000:3b:00.0"),)}, ALL, (
        "true", "TiedToItsHost", "its host device 0000:3b:00.0 is of its host, and a start on"
        " milan-1 would fail")),
    ({"devices": (DeviceFacts("pstore", "/srv/e"),)}, ALL, (
        "true", "StaysBehind", "what its crash store /srv/e holds stays where it is: it would"
        " begin empty on milan-1")),
    ({"devices": (DeviceFacts("tpm", "tpm-crb emulator"),)}, {
        "milan-1": replace(BOTH, tpms=("passthrough",))}, (
        "true", "TpmMissing", "milan-1 cannot emulate its TPM: install swtpm there")),
    ({"devices": (DeviceFacts("tpm", "tpm-crb emulator"),)}, ALL, (
        "unknown", "TpmUnknown", "milan-1 has not told whether it can emulate its TPM: install"
        " swtpm there")),
    ({"media": (ISO,)}, ALL, (
        "true", "MediumMissing", "milan-1 does not have its CD-ROM sda"
        " /var/lib/libvirt/images/setup.iso: eject it, or set its startupPolicy to optional")),
    ({"media": (replace(ISO, source="/root/setup.iso"),)}, ALL, (
        "unknown", "MediumUnknown", "nobody knows whether milan-1 has a file like its CD-ROM sda"
        " /root/setup.iso: eject it, or set its startupPolicy to optional"))])
def test_what_ties_a_vm_to_its_host_is_told(config: dict[str, Any], can: dict[str, Capabilities],
                                            expected: tuple[str, str, str]) -> None:
    desired = lab()
    assert said(desired, made_of(desired, can, **config), "NotPortable") == expected


def test_a_medium_that_lies_in_the_same_pool_there_too_is_portable() -> None:
    desired = lab()
    observed = made_of(desired, ALL, media=(ISO,))
    fact = observed.nodes["milan-1"]
    assert isinstance(fact, Known)
    assert isinstance(fact.value.pools, Known)
    pools = {name: replace(pool, volumes={
        **pool.volumes, "setup.iso": VolumeFacts("setup.iso", "raw", 1, 1)})
        for name, pool in fact.value.pools.value.items()}
    observed = b.with_node(observed, "milan-1", Known(
        replace(fact.value, pools=Known(pools, b.NOW_S)), b.NOW_S))
    assert said(desired, observed, "NotPortable") is None


@pytest.mark.parametrize(("config", "survives"), [
    ({"devices": (DeviceFacts("hostdev", "0000:3b:00.0"),)}, "false"),
    ({"devices": (DeviceFacts("tpm", "tpm-crb emulator"),)}, "true"),
    ({"cpu_mode": "host-passthrough"}, "true"), ({"loader": "/opt/own.fd"}, "true")])
def test_only_what_prevents_the_start_keeps_the_site_from_surviving(config: dict[str, Any],
                                                                    survives: str) -> None:
    desired = lab()
    status = next(one.status.value for one in compute(
        desired, made_of(desired, ALL, **config), b.APPLIED, b.NOW_S).conditions
        if (one.target, one.type) == ("Site/paris", "Survivable"))
    assert status == survives

"""Each hand against a host that answers in every way that matters."""

import asyncio
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.facts import Ownership
from controller.plan.actions.action import Action
from controller.plan.actions.desired import (
    DesiredDomain,
    DesiredNic,
    DetachNic,
    DomainChange,
    GrowDisk,
    SetCpus,
    SetMemory,
    SetOwnership,
    UpdateNic,
)
from controller.plan.actions.machine import (
    DefineDomain,
    DisableAutostart,
    ReconfigureDomain,
    RemoveDomain,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.storage import CreatePool
from controller.providers.libvirt import definition, reconfigure
from controller.providers.libvirt.domain import shut_down_command
from controller.providers.libvirt.hands import LibvirtHands
from controller.transport.base import Reply
from tests.providers.fakes import Local, Scripted, failed, said

BASE: dict[str, Any] = {"target": "VirtualMachine/sql", "node": "h", "reason": "r"}
UUID = "6b7c5d1e-0000-4000-8000-000000000001"
MAC = "52:54:00:00:00:01"
MIB = 1 << 20
XML = f"""<domain type='qemu'><name>sql</name><uuid>{UUID}</uuid>
<metadata><m:vm xmlns:m='https://hotsite.invalid/domain/1' estate='lab' deletion='delete'/>
</metadata><memory unit='MiB'>512</memory><vcpu>2</vcpu><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/sql-vda.qcow2'/>
<target dev='vda' bus='virtio'/></disk>
<interface type='bridge'><mac address='{MAC}'/><source bridge='br0'/>
<virtualport type='openvswitch'/><vlan><tag id='30'/></vlan><model type='virtio'/></interface>
</devices></domain>"""
GONE = failed("error: failed to get domain 'sql'\n")
DOWN = failed("error: failed to connect to the hypervisor\n")
START = StartDomain(**BASE, domain="sql")
DESIRED = DesiredDomain("sql", UUID, 512 * MIB, 2, (), (), Ownership("lab", "keep"), "<domain/>")
Script = tuple[str, Reply | ActionError]


def apply(action: Action, *script: Script) -> str:
    """What the hand says; the script must be used up."""
    return drive(action, *script)[0]


def drive(action: Action, *script: Script) -> tuple[str, Scripted]:
    transport = Scripted(*script)
    told = asyncio.run(LibvirtHands(transport).apply(action))
    assert transport.script == []
    return told, transport


def state(word: str) -> Script:
    return "domstate -- sql", said(f"{word}\n\n")


def changed(*changes: DomainChange, live: bool = True) -> ReconfigureDomain:
    return ReconfigureDomain(**BASE, domain="sql", changes=changes, live=live)


def test_starting_what_runs_is_done() -> None:
    active = failed("error: Requested operation is not valid: domain is already active\n")
    assert apply(START, ("start -- sql", active)) == "sql runs on h already"
    assert apply(START, ("start -- sql", said())) == "started sql on h"


def test_a_start_names_the_machine_that_was_meant_by_its_uuid() -> None:
    action = StartDomain(**BASE, domain="sql", uuid=UUID)
    assert apply(action, (f"start -- {UUID}", said())) == "started sql on h"


@pytest.mark.parametrize(("outcome", "error"), [
    (DOWN, Unavailable), (GONE, Refused), (OutcomeUnknown("the line broke"), OutcomeUnknown)])
def test_a_start_that_failed_says_what_is_then_true(
        outcome: Reply | ActionError, error: type[ActionError]) -> None:
    with pytest.raises(error):
        apply(START, ("start -- sql", outcome))


def test_only_what_is_paused_is_resumed() -> None:
    action = ResumeDomain(**BASE, domain="sql")
    assert apply(action, state("paused"), ("resume -- sql", said())) == "resumed sql on h"
    assert apply(action, state("running")) == "sql runs on h already"
    with pytest.raises(Refused, match="not paused but shut off"):
        apply(action, state("shut off"))


def test_a_guest_that_shuts_down_in_time_keeps_its_power() -> None:
    action = ShutDownDomain(**BASE, domain="sql", limit_s=60)
    told, transport = drive(action, state("running"), ("dumpxml -- sql", said(XML)),
                            ("shutdown --mode acpi /p/sql-vda.qcow2", said()))
    assert told == "sql shut down cleanly on h"
    assert transport.commands[-1][1].timeout_s > 60
    assert apply(action, state("shut off")) == "sql is off on h already"
    assert apply(action, ("domstate", GONE)) == "sql is off on h already"


def test_a_guest_that_does_not_shut_down_loses_its_power_gently_first() -> None:
    action = ShutDownDomain(**BASE, domain="sql", limit_s=60)
    busy = failed("error: Failed to terminate process\n")
    told, transport = drive(
        action, state("running"), ("dumpxml -- sql", said(XML)),
        ("shutdown --mode acpi", failed("", 3)), ("destroy --graceful -- sql", busy),
        state("running"), ("destroy -- sql", said()), state("shut off"))
    assert told == "cut the power of sql on h: it had not shut down after 60 s"
    assert len(transport.commands) == 7


def test_a_power_cut_that_cannot_be_seen_is_not_claimed() -> None:
    with pytest.raises(OutcomeUnknown, match="yet it is running"):
        apply(ShutDownDomain(**BASE, domain="sql", limit_s=1), state("running"),
              ("dumpxml -- sql", said(XML)), ("shutdown", failed("", 3)), ("destroy", said()),
              state("running"), ("destroy", said()), state("running"))


def test_a_restart_starts_what_is_off_already() -> None:
    told = apply(RestartDomain(**BASE, domain="sql", limit_s=1), state("shut off"),
                 ("domstate --reason -- sql", said("shut off (shutdown)\n")),
                 ("start -- sql", said()))
    assert told == "sql is off on h already; started sql on h"


def test_what_moved_away_while_it_was_to_restart_is_not_started_here() -> None:
    with pytest.raises(Refused, match="was moved away from h"):
        apply(RestartDomain(**BASE, domain="sql", limit_s=1), state("shut off"),
              ("domstate --reason -- sql", said("shut off (migrated)\n")))


def test_autostart_is_switched_off() -> None:
    told = apply(DisableAutostart(**BASE, domain="sql"), ("autostart --disable -- sql", said()))
    assert told == "h no longer starts sql by itself at boot"


def test_a_domain_is_defined_once() -> None:
    action = DefineDomain(**BASE, desired=DESIRED)
    told, transport = drive(action, ("dumpxml --security-info --inactive -- sql", GONE),
                            ("define /dev/stdin", said()))
    assert told == "defined sql on h"
    assert f"<uuid>{UUID}</uuid>" in transport.inputs[0]
    assert apply(action, ("dumpxml", said(XML)), ("dominfo", said("Persistent:     yes\n"))) == (
        "sql is defined on h already")


def test_a_domain_that_runs_without_a_definition_gets_the_one_it_runs_with() -> None:
    told, transport = drive(DefineDomain(**BASE, desired=DESIRED), ("dumpxml", said(XML)),
                            ("dominfo", said("Persistent:     no\n")), ("define", said()))
    assert told == "defined sql on h as it runs there: its definition had been lost"
    assert "/p/sql-vda.qcow2" in transport.inputs[0]


def test_another_vm_of_the_same_name_is_not_redefined() -> None:
    with pytest.raises(Refused, match="another domain sql, with uuid 7"):
        apply(DefineDomain(**BASE, desired=DESIRED), ("dumpxml", said(XML.replace(UUID, "7"))))


def test_only_what_is_off_is_undefined_and_its_disks_stay() -> None:
    action = UndefineDomain(**BASE, domain="sql")
    told, transport = drive(action, state("shut off"), ("undefine --keep-nvram", said()))
    assert told == "h forgot sql; its disks are still there"
    assert "--remove-all-storage" not in transport.commands[-1][1].argv
    assert apply(action, ("domstate", GONE)) == "h does not know sql already"
    with pytest.raises(Refused, match="is running: only what is off"):
        apply(action, state("running"))


REMOVE = RemoveDomain(**BASE, domain="sql", limit_s=5, disk_paths=("/p/sql-vda.qcow2",),
                      suffix=".hotsite-removed-20261128T143000Z")
USES = ("list --all --uuid", said(f"u\x1f0\x1f{XML}\x1e"))
CHAIN = ("qemu-img info -U --backing-chain", said(
    '/p/sql-vda.qcow2\x1f0\x1f[{"filename": "/p/sql-vda.qcow2"}]\x1e'))


def test_a_domain_is_removed_and_exactly_its_files_are_set_aside_before_it_is_forgotten() -> None:
    told, transport = drive(REMOVE, USES, CHAIN, ("dumpxml", said(XML)), state("shut off"),
                            ("sh -c", said()), state("shut off"), ("undefine --nvram", said()))
    assert told == ("removed sql from h; what is left of it is"
                    " /p/sql-vda.qcow2.hotsite-removed-20261128T143000Z")
    assert transport.commands[-3][1].argv[-3:] == (
        REMOVE.suffix, "aside", "/p/sql-vda.qcow2")


def test_a_removal_that_was_cut_off_goes_on_with_the_files() -> None:
    assert apply(REMOVE, ("list --all", said()), ("sh -c", said()), ("dumpxml", GONE),
                 ("domstate", GONE), ("sh -c", said()), ("domstate", GONE)).startswith("removed")


@pytest.mark.parametrize("other", [
    XML.replace("<name>sql", "<name>web"),
    XML.replace("<name>sql", "<name>web").replace("/p/sql-vda.qcow2", "/p/web-vda.qcow2"),
])
def test_a_file_that_another_domain_stands_on_is_not_deleted(other: str) -> None:
    chain = said('/p/web-vda.qcow2\x1f0\x1f[{"filename": "/p/web-vda.qcow2"},'
                 ' {"filename": "/p/sql-vda.qcow2"}]\x1e')
    with pytest.raises(Refused, match=r"/p/sql-vda.qcow2 is also used by web"):
        apply(REMOVE, ("list --all", said(f"u\x1f0\x1f{other}\x1e")), ("--backing-chain", chain))


def test_what_is_not_marked_for_deletion_is_not_deleted() -> None:
    kept = XML.replace("'delete'", "'keep'")
    with pytest.raises(Refused, match="`deletion: delete`"):
        apply(REMOVE, USES, CHAIN, ("dumpxml", said(kept)))


def test_where_the_users_of_files_cannot_all_be_seen_nothing_is_deleted() -> None:
    with pytest.raises(Unavailable, match="could not be listed"):
        apply(REMOVE, ("list --all", failed("error: internal error\n")))


@pytest.mark.parametrize("path", ["relative", "/p/../etc/passwd", "/p//x", ""])
def test_a_path_that_is_not_plain_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="not a plain absolute path"):
        apply(RemoveDomain(**BASE, domain="sql", limit_s=5, disk_paths=(path,), suffix=".x"))


def test_a_live_change_is_made_in_the_guest_and_in_its_definition() -> None:
    halved = XML.replace("<vcpu>", "<currentMemory unit='MiB'>256</currentMemory><vcpu>")
    told, transport = drive(
        changed(SetMemory(256 * MIB)), state("running"), ("dumpxml --security-info --", said(XML)),
        ("setmem --live -- sql 262144", said()), ("dumpxml --security-info --", said(XML)),
        ("dumpxml --security-info --", said(halved)),
        ("dumpxml --security-info --inactive", said(XML)), ("define /dev/stdin", said()))
    assert told == "sql on h: its balloon was set to 256MiB; its definition says so too"
    assert '<currentMemory unit="KiB">262144' in transport.inputs[0]


def test_a_definition_that_says_so_already_is_not_written() -> None:
    assert apply(changed(SetCpus(2), live=False), state("running"), ("--inactive", said(XML))) == (
        "sql on h: its definition says so already")


@pytest.mark.parametrize("change", [SetMemory(1024 * MIB), SetCpus(4)])
def test_more_than_the_ceiling_is_refused_before_anything_changes(change: DomainChange) -> None:
    with pytest.raises(Refused, match="needs a restart"):
        apply(changed(change), state("running"), ("dumpxml", said(XML)))


def test_a_card_moves_to_its_vlan_while_the_guest_runs() -> None:
    nic = DesiredNic(MAC, "br0", 40, "e1000")
    _, transport = drive(changed(UpdateNic(nic)), state("running"), ("dumpxml", said(XML)),
                         ("update-device --live -- sql", said()), ("--inactive", said(XML)),
                         ("define", said()))
    live, config = transport.inputs
    assert 'tag id="40"' in live
    assert 'model type="virtio"' in live  # the model of a card in use stays
    assert 'model type="e1000"' in config


def test_a_card_that_is_right_already_is_not_sent_again() -> None:
    plain = re.sub("<model type='[^']*'/>", "", XML)
    vlan = re.search(r"<tag id='([0-9]+)'", plain)
    assert vlan is not None
    nic = DesiredNic(MAC, "br0", int(vlan[1]), "virtio")
    done, transport = drive(changed(UpdateNic(nic)), state("running"), ("dumpxml", said(plain)),
                            ("--inactive", said(plain)))
    assert transport.inputs == []
    assert f"VLAN {vlan[1]}" in done


def test_a_card_of_another_kind_is_not_changed_in_a_running_guest() -> None:
    other = XML.replace("<interface type='bridge'>", "<interface type='network'>", 1)
    assert other != XML
    with pytest.raises(Refused, match="of libvirt's kind network"):
        apply(changed(UpdateNic(DesiredNic(MAC, "br0", 40, "virtio"))), state("running"),
              ("dumpxml", said(other)))


@pytest.mark.parametrize("change", [
    DetachNic(MAC), UpdateNic(DesiredNic(MAC, "br0", 40, "virtio"))])
def test_neither_of_two_cards_of_one_mac_is_touched(change: DomainChange) -> None:
    card = XML[XML.index("<interface"):XML.index("</devices>")]
    twins = XML.replace("</devices>", card.replace("br0", "br9") + "</devices>")
    with pytest.raises(Refused, match="two of its cards have the MAC"):
        apply(changed(change), state("running"), ("dumpxml", said(twins)))
    with pytest.raises(Refused, match="two of its cards have the MAC"):
        apply(changed(change), state("shut off"), ("dumpxml", said(twins)))


def test_a_guest_that_does_not_let_go_of_a_card_leaves_the_outcome_open(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconfigure, "RELEASE_PAUSE_S", 0)
    monkeypatch.setattr(reconfigure, "RELEASE_LOOKS", 2)
    with pytest.raises(OutcomeUnknown, match="has not yet"):
        apply(changed(DetachNic(MAC)), state("running"), ("dumpxml", said(XML)),
              ("detach-device --live", said()), ("dumpxml", said(XML)), ("dumpxml", said(XML)))


GROW = GrowDisk("vda", "/p/sql-vda.qcow2", 64 * MIB)


def test_a_running_disk_is_grown_by_qemu_and_never_by_qemu_img() -> None:
    told, transport = drive(changed(GROW), state("running"), ("dumpxml", said(XML)),
                            ("domblkinfo -- sql vda", said("Capacity:       1024\n")),
                            ("blockresize -- sql vda 67108864B", said()),
                            ("--inactive", said(XML)))
    assert told == "sql on h: vda has 64MiB now, while it runs"
    assert all("qemu-img" not in command.argv for _, command in transport.commands)


def test_a_running_disk_that_is_larger_already_is_not_cut() -> None:
    assert "64MiB already" in apply(changed(GROW), state("running"), ("dumpxml", said(XML)),
                                    ("domblkinfo", said("Capacity:       134217728\n")),
                                    ("--inactive", said(XML)))


def test_a_disk_in_another_file_than_expected_does_not_grow() -> None:
    with pytest.raises(Refused, match="nothing grew"):
        apply(changed(GrowDisk("vda", "/p/x", MIB)), state("shut off"), ("dumpxml", said(XML)))


def test_a_domain_that_is_not_there_is_not_changed() -> None:
    with pytest.raises(Refused, match="h does not know it"):
        apply(changed(SetOwnership(Ownership("lab", "keep"))), ("domstate", GONE))


POOL = CreatePool(**BASE, pool="fast", path="/fast")
POOL_XML = "<pool type='dir'><name>fast</name><target><path>{}</path></target></pool>"


def test_a_pool_is_defined_where_it_is_missing_and_started_where_it_is_not() -> None:
    none = failed("error: Storage pool not found: no storage pool with matching name 'fast'\n")
    active = failed("error: Requested operation is not valid: storage pool 'fast' is already"
                    " active\n")
    _, transport = drive(POOL, ("pool-dumpxml -- fast", none), ("pool-define", said()),
                         ("pool-build", said()), ("pool-start", said()), ("autostart", said()))
    assert "<path>/fast</path>" in transport.inputs[0]
    assert apply(POOL, ("pool-dumpxml", said(POOL_XML.format("/fast"))), ("pool-start", active),
                 ("autostart", said())) == "pool fast is active on h in /fast"


def test_a_pool_elsewhere_is_not_moved() -> None:
    with pytest.raises(Refused, match="is in /slow, not in /fast"):
        apply(POOL, ("pool-dumpxml", said(POOL_XML.format("/slow"))))


@pytest.mark.parametrize("name", ["7", "007", UUID])
@pytest.mark.parametrize("action", [
    START, REMOVE, ShutDownDomain(**BASE, domain="sql", limit_s=5),
    UndefineDomain(**BASE, domain="sql")])
def test_a_name_that_virsh_takes_for_another_domains_number_is_never_given_to_it(
        action: Any, name: str) -> None:
    with pytest.raises(Refused, match="number or uuid of another domain"):
        apply(replace(action, domain=name))


def test_looking_for_the_kernels_help_makes_nothing_under_dev(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    look = definition.OPEN_KVM.replace("/dev/kvm", str(device))
    assert subprocess.run(["sh", "-c", look]).returncode != 0
    assert not device.exists()
    device.write_text("")
    assert subprocess.run(["sh", "-c", look]).returncode != 0
    look = definition.OPEN_KVM.replace("/dev/kvm", "/dev/null")
    assert subprocess.run(["sh", "-c", look]).returncode == 0


def test_a_crashed_guest_with_a_process_is_not_off() -> None:
    action = UndefineDomain(**BASE, domain="sql")
    with pytest.raises(Refused, match="its process is still there: only what is off"):
        apply(action, state("crashed"), ("domid -- sql", said("7\n")))


PLAYED = """#!/bin/sh
echo "2026-11-28 12:00:00.000+0000: 1: warning : something is odd" >&2
case "$*" in *domstate*) echo {state}; echo;; *domid*) echo {number};; esac
"""


@pytest.mark.parametrize(("word", "number", "status"), [
    ("shut off", "-", 0), ("crashed", "-", 0), ("crashed", "7", 3), ("running", "7", 3)])
def test_a_guest_is_seen_off_whatever_else_virsh_says(
        tmp_path: Path, word: str, number: str, status: int) -> None:
    (tmp_path / "virsh").write_text(PLAYED.format(state=word, number=number))
    (tmp_path / "virsh").chmod(0o755)
    there = Local({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    reply = asyncio.run(there.run("h", shut_down_command("sql", 0)))
    assert reply.exit_status == status

"""How a live migration ends: by what both ends show, whatever the exit status was."""

import asyncio
from dataclasses import replace

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.desired import DesiredDisk
from controller.plan.actions.machine import MigrateDomain
from controller.providers.libvirt.hands import LibvirtHands
from controller.providers.libvirt.migration.migration import migrate_command
from controller.transport.base import Reply
from tests.providers.fakes import Scripted, failed, said

PATH = "/p/sql-vda.qcow2"
XML = f"""<domain><name>sql</name><memory>1</memory><vcpu>1</vcpu><devices>
<disk type='file' device='disk'>
<driver name='qemu' type='qcow2'/><source file='{PATH}'/><target dev='vda'/></disk></devices>
</domain>"""
GONE = failed("error: failed to get domain 'sql'\n")
NO_FILE = failed(f"qemu-img: Could not open '{PATH}': No such file or directory\n")
IDLE = ("h1: domjobinfo", said("Job type:         None        \n"))
BUSY = ("h1: domjobinfo", said("Job type:         Unbounded   \nOperation: Outgoing migration\n"))
CAPACITY = ("h1: domblkinfo -- sql vda", said("Capacity:       1048576\nAllocation: 0\n"))
NOBODY = ("h2: list --all", said())
NO_CHAINS = ("h2: sh -c", said())
LEAVE = (("h1: list --all", said()), ("h1: sh -c", said()), (f"h1: mv .moved {PATH}", said()))
Script = tuple[str, Reply | ActionError]
LOOK = (("h1: domstate", said("running\n")), ("h2: domstate", GONE), IDLE)
ROOM = (NOBODY, NO_CHAINS, CAPACITY, ("h2: qemu-img info", NO_FILE), (f"h2: sh -c {PATH}", said()))
SAME_PATHS = (("h1: dumpxml --migratable", said(XML)), ("h1: dumpxml --inactive", said(XML)))


def action(*, with_storage: bool = True, path: str = PATH) -> MigrateDomain:
    return MigrateDomain(
        target="VirtualMachine/sql", node="h1", reason="r", domain="sql", to="h2",
        to_address="10.0.0.2", to_replication_address="fd00::2", with_storage=with_storage,
        disks=(DesiredDisk("vda", "default", path, "qcow2", 999),))


def drive(wanted: MigrateDomain, *script: Script) -> tuple[str, Scripted]:
    transport = Scripted(*script)
    told = asyncio.run(LibvirtHands(transport).apply(wanted))
    assert transport.script == []
    return told, transport


def ends(here: Reply, there: Reply) -> tuple[Script, Script]:
    return ("h1: domstate", here), ("h2: domstate", there)


def test_it_moves_between_the_hosts_themselves_over_the_replication_network() -> None:
    told, transport = drive(action(), *LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", said()),
                            *ends(GONE, said("running\n")), *LEAVE)
    assert told == ("moved sql with its disks from h1 to h2 while it ran; its old copy there is"
                    " now /p/sql-vda.qcow2.moved")
    words = transport.commands[-6][1].argv
    assert {"--live", "--p2p", "--persistent", "--undefinesource", "--copy-storage-all"} <= {*words}
    assert words[words.index("--migrateuri") + 1] == "tcp://[fd00::2]"
    assert words[words.index("--listen-address") + 1] == "fd00::2"
    assert words[words.index("--desturi") + 1] == "qemu+ssh://10.0.0.2/system?no_tty=1"


@pytest.mark.parametrize(("user", "port", "called"), [
    ("root", 2222, "10.0.0.2:2222"), ("hotsite", 22, "hotsite@10.0.0.2"),
    ("ann@corp", 2222, "ann%40corp@10.0.0.2:2222"),
])
def test_the_source_s_libvirt_logs_in_as_declared(user: str, port: int, called: str) -> None:
    argv = migrate_command(replace(action(), to_user=user, to_port=port), (), 1.0).argv
    assert argv[argv.index("--desturi") + 1] == f"qemu+ssh://{called}/system?no_tty=1"


def test_the_disks_at_the_far_end_have_the_size_of_the_running_ones_to_the_byte() -> None:
    _, transport = drive(action(), *LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", said()),
                         *ends(GONE, said("running\n")), *LEAVE)
    made = next(c.argv for n, c in transport.commands if n == "h2" and PATH in c.argv
                and "sh" in c.argv)
    assert "1048576" in made


def test_without_storage_no_disk_is_made() -> None:
    _, transport = drive(action(with_storage=False), *LOOK, *SAME_PATHS,
                         ("h1: stat", said("7\n")), ("h2: stat", said("7\n")),
                         ("h1: migrate", said()), *ends(GONE, said("running\n")))
    assert all("--copy-storage-all" not in command.argv for _, command in transport.commands)


def test_what_has_arrived_already_is_done() -> None:
    told, _ = drive(action(), *ends(said("shut off\n"), said("running\n")))
    assert told == "sql runs on h2 already"


@pytest.mark.parametrize(("here", "there", "error", "words"), [
    (said("shut off\n"), GONE, Refused, "only what runs"),
    (GONE, GONE, Refused, "not defined"),
    (said("running\n"), said("paused\n"), Unavailable, "it is paused there"),
    (said("running\n"), said("running\n"), Unavailable, "it is running there"),
])
def test_what_cannot_be_moved_is_not_touched(
        here: Reply, there: Reply, error: type[ActionError], words: str) -> None:
    with pytest.raises(error, match=words):
        drive(action(), *ends(here, there))


def test_a_domain_that_is_being_worked_on_waits() -> None:
    with pytest.raises(Unavailable, match="another job"):
        drive(action(), *LOOK[:2], BUSY)


def test_a_failure_that_left_all_as_it_was_is_cleared_away() -> None:
    transport = Scripted(
        *LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", failed("error: internal error: no\n")),
        *ends(said("running\n"), GONE), IDLE, (f"h2: sh -c rm {PATH}", said()))
    with pytest.raises(Refused, match=r"runs on h1 as before: no$"):
        asyncio.run(LibvirtHands(transport).apply(action()))
    assert transport.script == []


@pytest.mark.parametrize(("here", "there", "job"), [
    (said("running\n"), said("paused\n"), (IDLE,)),
    (said("running\n"), GONE, (BUSY,)),
    (GONE, GONE, ()),
    (said("paused\n"), GONE, ()),
])
def test_what_is_neither_here_nor_there_is_looked_at_again_and_nothing_is_deleted(
        here: Reply, there: Reply, job: tuple[Script, ...]) -> None:
    transport = Scripted(*LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", failed("error: x\n")),
                         *ends(here, there), *job)
    with pytest.raises(OutcomeUnknown, match="is not certain"):
        asyncio.run(LibvirtHands(transport).apply(action()))
    assert transport.script == []


def test_a_line_that_broke_on_the_way_leaves_everything_where_it_is() -> None:
    transport = Scripted(*LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", OutcomeUnknown("it broke")))
    with pytest.raises(OutcomeUnknown, match="it broke"):
        asyncio.run(LibvirtHands(transport).apply(action()))
    assert transport.script == []


def test_a_success_that_nobody_sees_is_not_claimed() -> None:
    transport = Scripted(*LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", said()),
                         ("h1: domstate", Unavailable("h1 is silent")))
    with pytest.raises(OutcomeUnknown, match="h1 is silent"):
        asyncio.run(LibvirtHands(transport).apply(action()))


def test_a_disk_in_use_at_the_far_end_stops_it() -> None:
    theirs = said(f"u\x1f0\x1f{XML}\x1e".replace("<name>sql", "<name>web"))
    chain = said(f'{PATH}\x1f0\x1f[{{"filename": "{PATH}"}}]\x1e')
    with pytest.raises(Refused, match="is also used there by web"):
        drive(action(), *LOOK, ("h2: list --all", theirs), ("h2: sh -c", chain), CAPACITY)


INFO = said('{"format": "qcow2", "virtual-size": 1048576, "actual-size": 4096}')


def test_a_stale_disk_is_put_aside_and_one_that_is_empty_is_used() -> None:
    full, empty = said('[{"data": true}]'), said('[{"data": false}]')
    found = ("h2: qemu-img info", INFO)
    finish: tuple[Script, ...] = (*SAME_PATHS, ("h1: migrate", said()),
                                  *ends(GONE, said("running\n")), *LEAVE)
    drive(action(), *LOOK, *ROOM[:3], found, ("h2: qemu-img map", empty), *finish)
    drive(action(), *LOOK, *ROOM[:3], found, ("h2: qemu-img map", full), ("h2: stale", said()),
          ("h2: qemu-img create", said()), *finish)
    other = ("h2: qemu-img info -U --output=json -f qcow2", failed("not in qcow2 format"))
    drive(action(), *LOOK, *ROOM[:3], other, ("h2: stale", said()),
          ("h2: qemu-img create", said()), *finish)


def test_a_file_whose_name_is_not_the_domains_is_left_alone() -> None:
    other = action(path="/p/disk.qcow2")
    with pytest.raises(Refused, match="is there already, and by its name it is not sql's"):
        drive(other, *LOOK, *ROOM[:3], ("h2: qemu-img info", INFO),
              ("h2: qemu-img map", said('[{"data": true}]')))


def test_where_disks_lie_elsewhere_libvirt_is_told() -> None:
    wanted = action(path="/q/sql-vda.qcow2")
    kept = ("h1: /run/hotsite/move-sql", said())
    _, transport = drive(
        wanted, *LOOK, *ROOM[:4], ("h2: sh -c /q/sql-vda.qcow2", said()), *SAME_PATHS, kept, kept,
        ("h1: migrate --xml /run/hotsite/move-sql-live.xml --persistent-xml", said()),
        *ends(GONE, said("running\n")), *LEAVE)
    assert all('file="/q/sql-vda.qcow2"' in text for text in transport.inputs)


def test_an_old_copy_that_a_domain_still_uses_keeps_its_name() -> None:
    theirs = said(f"u\x1f0\x1f{XML}\x1e".replace("<name>sql", "<name>web"))
    told, _ = drive(action(), *LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", said()),
                    *ends(GONE, said("running\n")), ("h1: list --all", theirs),
                    ("h1: sh -c", said(f'{PATH}\x1f0\x1f[{{"filename": "{PATH}"}}]\x1e')))
    assert told == "moved sql with its disks from h1 to h2 while it ran"


def test_a_move_stays_done_when_the_old_copy_cannot_be_renamed() -> None:
    told, _ = drive(action(), *LOOK, *ROOM, *SAME_PATHS, ("h1: migrate", said()),
                    *ends(GONE, said("running\n")), *LEAVE[:2],
                    (f"h1: mv {PATH}", failed("mv: cannot move: Read-only file system\n")))
    assert "keeps its name" in told

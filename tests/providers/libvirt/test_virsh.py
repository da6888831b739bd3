"""What virsh means when it fails; the texts are libvirt 9.0's and QEMU 7.2's own."""

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.providers.libvirt.virsh import failure, is_missing, parse_complaint, virsh_command
from tests.providers.fakes import failed, said

LOCKED = """error: Failed to start domain 'mail'
error: internal error: process exited while connecting to monitor: 2026-11-22T21:43:01.1Z \
qemu-system-x86_64: -blockdev {"node-name":"libvirt-1-format","file":"libvirt-1-storage"}: \
Failed to get "write" lock
Is another process using the image [/var/lib/libvirt/images/mail-vda.qcow2]?
"""


@pytest.mark.parametrize(("stderr", "meaning"), [
    (LOCKED, ('Failed to get "write" lock;'
             " Is another process using the image [/var/lib/libvirt/images/mail-vda.qcow2]?")),
    ("error: Failed to start domain 'mail'\nerror: Requested operation is not valid: x\n",
     "Requested operation is not valid: x"),
    ("error: failed to get domain 'mail'\n\n", "failed to get domain 'mail'"),
    (("error: Failed to define domain from /dev/stdin\nerror: \n(domain_definition):1: Document is"
     " empty\n"), "(domain_definition):1: Document is empty"),
    ("sh: 5: cannot create /x/a.part: Directory nonexistent\n",
     "cannot create /x/a.part: Directory nonexistent"),
    ("", "it gave no reason"),
])
def test_the_line_that_matters_is_found(stderr: str, meaning: str) -> None:
    assert parse_complaint(stderr) == meaning


def test_a_flood_of_words_is_cut() -> None:
    assert len(parse_complaint("error: " + "x" * 5000)) == 300


@pytest.mark.parametrize(("stderr", "error"), [
    (LOCKED, Refused),
    (("error: failed to connect to the hypervisor\nerror: Failed to connect socket to"
     " '/var/run/libvirt/libvirt-sock': No such file or directory\n"), Unavailable),
    (("error: Timed out during operation: cannot acquire state change lock (held by"
     " monitor=remoteDispatchDomainMigratePerform3Params)\n"), Unavailable),
    (("error: Disconnected from qemu:///system due to end of file\nerror: End of file while reading"
     " data: Input/output error\n"), OutcomeUnknown),
])
def test_each_failure_says_what_is_then_true(stderr: str, error: type[ActionError]) -> None:
    raised = failure(failed(stderr), "mail was not started on h")
    assert type(raised) is error
    assert str(raised).startswith("mail was not started on h")
    assert "\n" not in str(raised)


def test_a_domain_that_is_not_there_is_told_from_one_that_cannot_be_read() -> None:
    assert is_missing(failed("error: failed to get domain 'mail'\n"))
    assert not is_missing(failed("error: failed to connect to the hypervisor\n"))
    assert not is_missing(said("failed to get domain"))


def test_a_libvirt_that_hangs_up_while_it_looks_has_not_said_that_the_domain_is_gone() -> None:
    assert not is_missing(failed(
        "error: Disconnected from qemu:///system due to end of file\n"
        "error: failed to get domain 'mail'\n"))
    assert not is_missing(failed(""))


def test_of_a_program_that_was_killed_the_outcome_is_unknown() -> None:
    assert type(failure(failed("", status=143), "mail was not started on h")) is OutcomeUnknown


def test_virsh_speaks_plain_english_to_the_systems_libvirt() -> None:
    assert virsh_command("start", "--", "mail").argv == (
        "env", "LC_ALL=C", "virsh", "-q", "-c", "qemu:///system", "start", "--", "mail")

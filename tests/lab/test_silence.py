"""Silence is never absence: a host that does not answer is left alone, reported, healed later."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hotsite import Hotsite, Loop
from tests.lab.lab import STATE, Lab, wait_until
from tests.lab.witness import counts_on, last_number, replaced

pytestmark = pytest.mark.usefixtures("converged")


@pytest.fixture(scope="module")
def hotsite(converged: Lab, tmp_path_factory: pytest.TempPathFactory) -> Hotsite:
    """Give the module's specs: looks come more often, and repairs may, too."""
    assert converged.nodes()
    hotsite = Hotsite(tmp_path_factory.mktemp("silence"))
    hotsite.limit(quarantineRepairs=99)
    hotsite.edit("estate", "lab", "  autonomy: restart\n", "  autonomy: restart\n  poll: 2s\n")
    return hotsite


@pytest.fixture(scope="module")
def loop(hotsite: Hotsite) -> Iterator[Loop]:
    """Keep the loop going for the whole module."""
    with hotsite.running() as loop:
        yield loop


def about(loop: Loop, since: int, vm: str) -> list[str]:
    """Return the actions begun on a VM since a mark."""
    return [one for one in loop.actions(since) if f"VirtualMachine/{vm}@" in one]


@pytest.mark.parametrize(("fault", "host", "vm"), [
    ("sshd", "paris-2", "mail"), ("hang", "milan-2", "builder")])
def test_a_host_that_is_silent_is_left_alone_and_its_vm_starts_when_it_answers(
        lab: Lab, loop: Loop, fault: str, host: str, vm: str) -> None:
    last, since = last_number(host, vm), loop.mark()
    lab.break_(fault, host)
    try:
        loop.wait_sentence(f"? {host}:", f"VirtualMachine/{vm} Ready unknown",
                           f"{vm} was last seen on {host}, which has not answered for")
        if fault == "sshd":
            lab.break_("vm", host, vm)
        # the others go on
        lab.break_("vlan-tag", "paris-1", "sql", "77")
        loop.wait_done("set-port-vlan:VirtualMachine/sql@paris-1", since)
        assert about(loop, since, vm) == []
    finally:
        lab.mend(fault, host)
    counts_on(host, vm, last)
    loop.wait_settled()
    wanted = [f"start:VirtualMachine/{vm}@{host}"] if fault == "sshd" else []
    assert about(loop, since, vm) == wanted


def test_a_host_without_power_is_left_alone_and_its_vm_starts_when_it_is_back(
        lab: Lab, loop: Loop) -> None:
    last, since = last_number("milan-2", "builder"), loop.mark()
    lab.break_("power", "milan-2")
    try:
        loop.wait_sentence("builder was last seen on milan-2, which has not answered for")
        assert loop.actions(since) == []
    finally:
        lab.mend("power", "milan-2")
    counts_on("milan-2", "builder", last)
    loop.wait_settled()
    assert about(loop, since, "builder") == ["start:VirtualMachine/builder@milan-2"]


def test_a_whole_site_that_is_silent_is_a_storm_and_nothing_moves(lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    for host in ("milan-1", "milan-2"):
        lab.break_("sshd", host)
    try:
        loop.wait_sentence("2 of the 2 hosts of milan do not answer (100%, the limit is 60%)",
                           "proxy was last seen on milan-1", "builder was last seen on milan-2")
        assert loop.actions(since) == []
    finally:
        for host in ("milan-1", "milan-2"):
            lab.mend("sshd", host)
    loop.wait_settled()
    assert loop.actions(since) == []


def test_a_virsh_that_fails_makes_one_host_unknown(lab: Lab, loop: Loop) -> None:
    since = loop.mark()
    with replaced(lab, "paris-2", "/usr/bin/virsh", "echo 'error: out of luck' >&2; exit 1"):
        lab.ask("exec", "paris-2", "--", "/run/real-virsh", "-q", "destroy", "mail")
        loop.wait_sentence("LibvirtSilent", "out of luck")
        assert loop.actions(since) == []
    loop.wait_done("start:VirtualMachine/mail@paris-2", since)
    loop.wait_settled()


# --- one look at a time, by `hotsite plan`


@pytest.fixture
def aside(hotsite: Hotsite, tmp_path: Path) -> Hotsite:
    """Give specs of its own to a test that edits how nodes are reached."""
    assert hotsite.specs.exists()
    return Hotsite(tmp_path)


def one_is_unknown(reply_text: str, host: str, sentence: str) -> None:
    """Hold that a plan says one clear sentence about one host, and sees all others."""
    text = " ".join(reply_text.split())
    about, _, rest = text.partition(f"? Host/{host}: ")[2].partition(" ? ")
    assert sentence in about, text
    assert "? Host/" not in rest, text


def test_a_wrong_host_key_makes_one_node_unknown(lab: Lab, aside: Hotsite) -> None:
    assert lab.nodes()
    known = aside.specs.parent / "known_hosts"
    lines = (STATE / "known_hosts").read_text().splitlines()
    other = next(line.split(None, 1)[1] for line in lines if line.startswith("10.77.0.12"))
    known.write_text("\n".join(
        f"{line.split()[0]} {other}" if line.startswith("10.77.0.11") else line
        for line in lines) + "\n")
    aside.edit("estate", "lab", "/var/lib/hotsite-lab/known_hosts", str(known))
    reply = aside.plan()
    assert reply.status == 5, reply.output
    one_is_unknown(reply.output, "paris-1", "host key")


def test_a_refused_login_makes_nodes_unknown_and_nothing_is_planned(
        lab: Lab, aside: Hotsite) -> None:
    assert lab.nodes()
    key = aside.specs.parent / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    aside.edit("estate", "lab", "/var/lib/hotsite-lab/id_ed25519", str(key))
    reply = aside.plan()
    assert reply.status == 5, reply.output
    text = " ".join(reply.output.split())
    assert "refused the login of root" in text
    assert "declared and defined on no host" not in text


@pytest.mark.parametrize(("script", "sentence"), [
    ("echo '{\"boot_id\": \"cut off in the mid'", "is not understood"),
    ("echo no JSON at all", "is not understood"),
    ("exit 7", "ended"),
])
def test_facts_that_are_garbage_or_cut_off_make_one_host_unknown(
        lab: Lab, aside: Hotsite, script: str, sentence: str) -> None:
    program = lab.exec("paris-1", "sh", "-c", "readlink -f $(command -v python3)").strip()
    with replaced(lab, "paris-1", program, f"cat >/dev/null & read x; {script}"):
        reply = aside.plan()
    assert reply.status == 5, reply.output
    one_is_unknown(reply.output, "paris-1", sentence)


def test_a_full_disk_fails_one_creation_in_one_sentence_and_the_others_go_on(
        lab: Lab, aside: Hotsite) -> None:
    base = aside.path("virtual_machine", "builder").read_text()
    for name, host, last in (("full", "milan-2", "31"), ("room", "paris-2", "32")):
        spec = base.replace("name: builder", f"name: {name}").replace("00:15}]", f"00:{last}}}]")
        aside.declare("virtual_machine", name, spec.replace("power: on", "power: off").replace(
            "placement: {site: milan}", f"placement: {{host: {host}}}"))
    lab.break_("fill", "milan-2")
    try:
        reply = aside.apply()
        assert reply.status == 1, reply.output
        failed = [line for line in reply.output.splitlines() if line.startswith("failed: ")]
        assert len(failed) == 1, reply.output
        assert "is full" in " ".join(reply.output.split())
        assert "room" in lab.virsh("paris-2", "list", "--all", "--name").split()
        assert "full" not in lab.virsh("milan-2", "list", "--all", "--name").split()
    finally:
        lab.mend("fill", "milan-2")
        lab.ask("exec", "milan-2", "--", "virsh", "-q", "resume", "builder")
    assert aside.apply().status == 0
    for name, host in (("full", "milan-2"), ("room", "paris-2")):
        lab.virsh(host, "undefine", name)
        lab.exec(host, "rm", f"/var/lib/libvirt/images/{name}-vda.qcow2")
    wait_until("builder runs on", lambda: "running" in lab.virsh("milan-2", "domstate", "builder"))

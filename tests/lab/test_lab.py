"""The lab's guests run, and each of its faults breaks and mends something real."""

import base64
import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.lab import STATE, Lab, is_one_life, render_guest, wait_until

IMAGES = "/var/lib/libvirt/images"
GUESTS = {  # name -> host, MAC, VLAN; the address follows from the MAC
    "one": ("paris-1", "52:54:00:09:00:01", 901),
    "two": ("milan-1", "52:54:00:09:00:02", 901),
    "three": ("milan-1", "52:54:00:09:00:03", 902),
    "four": ("paris-2", "52:54:00:09:00:04", 901),
    "five": ("milan-2", "52:54:00:09:00:05", 902),
    "six": ("paris-1", "52:54:00:09:00:06", 901),
}

CLEAR = f"""for vm in $(virsh -q list --name); do virsh -q destroy $vm; done
for vm in $(virsh -q list --all --name); do virsh -q undefine $vm; done
rm -f {IMAGES}/*"""


def define(lab: Lab, vm: str) -> None:
    """Define a guest with an empty disk on its host."""
    host, mac, vlan = GUESTS[vm]
    disk = f"{IMAGES}/{vm}.raw"
    lab.exec(host, "qemu-img", "create", "-q", "-f", "raw", disk, "64M")
    lab.exec(host, "virsh", "-q", "define", "/dev/stdin", text=render_guest(
        vm, mac, vlan, disk, system=vm != "six"))


def first_block(lab: Lab, vm: str) -> bytes:
    """Return the block of a guest's first record, read beside QEMU."""
    with (lab.state / f"nodes/{GUESTS[vm][0]}/disk/images/{vm}.raw").open("rb") as disk:
        disk.seek(4096)
        return disk.read(6)


def emulators() -> dict[str, int]:
    """Return the process id of each running guest's QEMU."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            names = [w[6:].split(b",")[0].decode() for w in words if w.startswith(b"guest=")]
            found.update(dict.fromkeys(names, int(entry.name)))
    return found


@pytest.fixture(scope="module")
def estate(fresh_lab: Lab) -> Iterator[Lab]:
    """Start six guests at once and wait for the first record of each; leave none behind."""
    for vm in GUESTS:
        define(fresh_lab, vm)
    starts = [
        subprocess.Popen(fresh_lab.command("exec", host, "--", "virsh", "-q", "start", vm))
        for vm, (host, _, _) in GUESTS.items()
    ]
    assert [start.wait() for start in starts] == [0] * len(starts)
    waiting = set(GUESTS)

    def all_booted() -> bool:
        waiting.difference_update(
            [vm for vm in waiting if first_block(fresh_lab, vm) == b"record"]
        )
        return not waiting

    wait_until("first records of all guests", all_booted)
    yield fresh_lab
    for host in sorted({host for host, _, _ in GUESTS.values()}):
        fresh_lab.exec(host, "sh", "-c", CLEAR)


@pytest.fixture
def calm(estate: Lab) -> Lab:
    """Give a test the lab with every guest running."""
    there = emulators()
    for vm, (host, _, _) in GUESTS.items():
        if vm not in there:
            estate.virsh(host, "start", vm)
    return estate


def test_guests_of_one_vlan_reach_each_other_across_sites_and_no_others(calm: Lab) -> None:
    wait_until("one reaches two", lambda: calm.pings("paris-1", "one", "10.9.0.2"))
    wait_until("one reaches four", lambda: calm.pings("paris-1", "one", "10.9.0.4"))
    assert not calm.pings("paris-1", "one", "10.9.0.3")
    wait_until("three reaches five", lambda: calm.pings("milan-1", "three", "10.9.0.5"))


def test_a_guest_obeys_the_power_button_and_counts_on(calm: Lab) -> None:
    wait_until("records of six", lambda: len(calm.records("paris-1", "six")) > 3)
    calm.virsh("paris-1", "shutdown", "six")
    wait_until("the end of six", lambda: "six" not in calm.running("paris-1"))
    before = calm.records("paris-1", "six")
    calm.virsh("paris-1", "start", "six")
    last = before[-1].number
    wait_until("new records", lambda: calm.records("paris-1", "six")[-1].number > last + 1)
    numbers = [record.number for record in calm.records("paris-1", "six")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_guest_without_a_system_obeys_the_balloon_and_lets_go_of_a_card(calm: Lab) -> None:
    wait_until("records of six", lambda: calm.has_written("paris-1", "six"))
    calm.virsh("paris-1", "setmem", "six", "98304", "--live")
    wait_until("its balloon", lambda: calm.domain("paris-1", "six").findtext(
        "currentMemory") == "98304")
    calm.virsh("paris-1", "detach-interface", "six", "bridge", "--live")
    wait_until("its card", lambda: calm.domain("paris-1", "six").find(
        "devices/interface") is None)


@pytest.mark.parametrize("target", ["paris-1", "milan-2"])
def test_a_guest_that_writes_moves_live_with_its_disk(calm: Lab, target: str) -> None:
    address = {"paris-1": "10.78.0.11", "milan-2": "10.78.0.22"}[target]
    wait_until("records of four", lambda: calm.has_written("paris-2", "four"))
    calm.exec(target, "qemu-img", "create", "-q", "-f", "raw", f"{IMAGES}/four.raw", "64M")
    move = ("migrate", "--live", "--persistent", "--undefinesource", "--copy-storage-all", "four")
    before = calm.records("paris-2", "four")[-1].number
    calm.virsh("paris-2", *move, f"qemu+ssh://{target}/system", f"tcp://{address}")
    moved = calm.records(target, "four")[-1].number
    wait_until("records after it", lambda: calm.records(target, "four")[-1].number > moved + 2)
    records = calm.records(target, "four")
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    assert is_one_life(records[before - 1:])
    assert "four" not in calm.running("paris-2")
    back = (*move, "qemu+ssh://paris-2/system", "tcp://10.78.0.12")
    calm.virsh(target, *back)


def test_a_killed_guest_is_off_and_starts_again(calm: Lab) -> None:
    calm.break_("vm", "paris-1", "six")
    assert "six" not in calm.running("paris-1")
    calm.mend("vm", "paris-1", "six")
    assert "six" in calm.running("paris-1")


def test_a_host_without_power_is_silent_and_boots_anew(calm: Lab) -> None:
    boot_id = calm.exec("milan-2", "cat", "/run/hotsite/boot_id")
    calm.virsh("milan-2", "autostart", "five")
    calm.break_("power", "milan-2")
    assert calm.nodes()["milan-2"] == "off"
    assert "five" not in emulators()
    assert "h2" in calm.ovs("milan-sw", "--bare", "--columns=name", "find", "interface",
                            "link_state=down")
    assert calm.ask("ssh", "milan-2", "true").status == 255
    calm.mend("power", "milan-2")
    assert calm.exec("milan-2", "cat", "/run/hotsite/boot_id") != boot_id
    wait_until("libvirt's autostart", lambda: calm.running("milan-2") == {"five"})
    assert "up0" in calm.ovs("milan-2", "list-ports", "br0")


def test_a_hung_host_accepts_and_never_answers(calm: Lab) -> None:
    calm.break_("hang", "milan-2")
    assert calm.nodes()["milan-2"] == "hung"
    with pytest.raises(subprocess.TimeoutExpired):
        calm.ask("ssh", "milan-2", "true", limit_s=1)
    calm.mend("hang", "milan-2")
    assert calm.ask("ssh", "milan-2", "true").status == 0


def test_a_paused_sshd_accepts_and_never_answers(calm: Lab) -> None:
    calm.break_("sshd", "paris-2")
    with pytest.raises(subprocess.TimeoutExpired):
        calm.ask("ssh", "paris-2", "true", limit_s=1)
    assert "four" in calm.running("paris-2")
    calm.mend("sshd", "paris-2")
    assert calm.ask("ssh", "paris-2", "true").status == 0


def test_libvirtd_is_killed_and_its_guests_run_on(calm: Lab) -> None:
    emulator = emulators()["one"]
    calm.break_("libvirtd", "paris-1")
    assert calm.ask("exec", "paris-1", "--", "virsh", "list").status == 1
    calm.mend("libvirtd", "paris-1")
    assert "one" in calm.running("paris-1")
    assert emulators()["one"] == emulator


def test_a_cut_trunk_member_heals_by_spanning_tree(calm: Lab) -> None:
    wait_until("one reaches two", lambda: calm.pings("paris-1", "one", "10.9.0.2"))
    for trunk in ("tr0", "tr1"):
        calm.break_("trunk", trunk)
        wait_until("the other member", lambda: calm.pings("paris-1", "one", "10.9.0.2"))
        calm.mend("trunk", trunk)
    wait_until("one reaches two", lambda: calm.pings("paris-1", "one", "10.9.0.2"))


def test_a_site_cut_off_is_whole_inside_and_silent_outside(calm: Lab) -> None:
    calm.break_("site", "milan")
    try:
        wait_until("milan-1 reaches milan-2", lambda: calm.ask(
            "exec", "milan-1", "--", "ping", "-c1", "-W1", "milan-2").status == 0)
        for address in ("10.77.0.21", "10.78.0.21", "10.79.0.21", "10.77.0.3"):
            ping = ("ping", "-c", "1", "-W", "1", address)
            assert subprocess.run(ping, capture_output=True, check=False).returncode == 1
        assert calm.ask("exec", "paris-1", "--", "ping", "-c1", "-W1", "milan-1").status == 1
        assert not calm.pings("paris-1", "one", "10.9.0.2")
    finally:
        calm.mend("site", "milan")
    assert calm.ask("ssh", "milan-1", "true").status == 0
    wait_until("one reaches two", lambda: calm.pings("paris-1", "one", "10.9.0.2"))


def test_a_retagged_port_leaves_its_vlan(calm: Lab) -> None:
    wait_until("one reaches four", lambda: calm.pings("paris-1", "one", "10.9.0.4"))
    calm.break_("vlan-tag", "paris-2", "four", "77")
    assert calm.vlan_of("paris-2", "four") == 77
    assert not calm.pings("paris-1", "one", "10.9.0.4")
    calm.mend("vlan-tag", "paris-2", "four")
    assert calm.vlan_of("paris-2", "four") == 901
    wait_until("one reaches four", lambda: calm.pings("paris-1", "one", "10.9.0.4"))


def test_a_vlan_dropped_from_both_trunks_is_cut_and_no_other(calm: Lab) -> None:
    calm.ovs("paris-sw", "set", "port", "h1", "trunks=901,902")
    wait_until("one reaches two", lambda: calm.pings("paris-1", "one", "10.9.0.2"))
    calm.break_("trunk-vlan", "paris-sw", "h1", "drop", "901")
    assert calm.ovs("paris-sw", "get", "port", "h1", "trunks") == "[902]"
    assert not calm.pings("paris-1", "one", "10.9.0.2")
    calm.mend("trunk-vlan", "paris-sw", "h1", "drop", "901")
    assert calm.ovs("paris-sw", "get", "port", "h1", "trunks") == "[901, 902]"
    wait_until("one reaches two", lambda: calm.pings("paris-1", "one", "10.9.0.2"))
    calm.ovs("paris-sw", "clear", "port", "h1", "trunks")


def test_a_full_disk_is_full_for_its_host_alone(calm: Lab) -> None:
    more = f"{IMAGES}/more"
    write = ("sh", "-c", f"dd if=/dev/zero of={more} bs=65536 count=1 2>&1; rm {more}")
    calm.break_("fill", "milan-2")
    try:
        assert "No space left" in calm.exec("milan-2", *write)
        assert "No space left" not in calm.exec("milan-1", *write)
    finally:
        calm.mend("fill", "milan-2")
    assert "No space left" not in calm.exec("milan-2", *write)


def test_a_damaged_file_differs_and_is_as_before_when_mended(calm: Lab) -> None:
    path = f"{IMAGES}/replica.raw"
    calm.exec("milan-1", "dd", "if=/dev/urandom", f"of={path}", "bs=64k", "count=4", "status=none")
    before = calm.exec("milan-1", "sha256sum", path)
    calm.break_("replica", "milan-1", path)
    assert calm.exec("milan-1", "sha256sum", path) != before
    calm.mend("replica", "milan-1", path)
    assert calm.exec("milan-1", "sha256sum", path) == before


def bmc(method: str, path: str = "", body: bytes | None = None) -> dict[str, str]:
    """Speak Redfish to the BMC of paris-2."""
    known = json.loads((STATE / "bmc.json").read_text())
    pair = f"{known['username']}:{known['password']}".encode()
    request = urllib.request.Request(
        f"https://10.79.0.12/redfish/v1/Systems/1{path}", data=body, method=method,
        headers={"Authorization": "Basic " + base64.b64encode(pair).decode()},
    )
    trust = ssl.create_default_context(cafile=str(STATE / "bmc.crt"))
    with urllib.request.urlopen(request, context=trust, timeout=120) as answer:  # noqa: S310
        text = answer.read()
    return dict(json.loads(text)) if text else {}


def test_a_bmc_outlives_its_host_and_switches_it(calm: Lab) -> None:
    reset = "/Actions/ComputerSystem.Reset"
    assert bmc("GET")["PowerState"] == "On"
    bmc("POST", reset, b'{"ResetType": "ForceOff"}')
    assert calm.nodes()["paris-2"] == "off"
    assert bmc("GET")["PowerState"] == "Off"
    bmc("POST", reset, b'{"ResetType": "On"}')
    assert calm.nodes()["paris-2"] == "on"
    bmc("POST", reset, b'{"ResetType": "GracefulShutdown"}')
    wait_until("an orderly end", lambda: bmc("GET")["PowerState"] == "Off")
    bmc("POST", reset, b'{"ResetType": "On"}')
    assert calm.nodes()["paris-2"] == "on"


def test_an_unknown_fault_is_refused_in_one_sentence(lab: Lab) -> None:
    reply = lab.ask("break", "everything")
    assert reply.status == 1
    assert reply.complaint.startswith("lab: no fault 'everything'; there are vm, power,")
    assert lab.ask("break", "vm", "paris-1").complaint == "lab: write: lab break vm HOST VM\n"

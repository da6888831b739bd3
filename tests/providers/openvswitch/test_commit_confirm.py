"""Uplinks and trunks on a real Open vSwitch: the node undoes every change not confirmed."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable, Undone
from controller.plan.actions.desired import PortVlans
from controller.plan.actions.network import AddUplink, CreateBridge, NarrowTrunk, WidenTrunk
from controller.providers import commit_confirm
from controller.providers.openvswitch.hands import OpenVswitchHands
from controller.transport.base import Command, Reply
from tests.providers.fakes import Local
from tests.waiting import wait_until

PROGRAM = Path(__file__).parents[3] / "controller/remote/commit_confirm.py"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
NEEDED = ("ovs-vsctl", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd")
missing = [name for name in NEEDED if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin") is None]
pytestmark = pytest.mark.skipif(bool(missing) or not SCHEMA.exists(),
                                reason=f"Open vSwitch is not installed: no {missing}")


class Switch:
    """A private Open vSwitch with a dummy datapath: no root, no kernel, no devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": f"{folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "OVS_RUNDIR": str(folder), "HOTSITE_RUN": str(folder / "hotsite"),
        }
        (folder / "bin").mkdir()
        (folder / "bin/modprobe").symlink_to("/bin/false")  # this machine's kernel is not ours
        database, socket = folder / "conf.db", f"unix:{folder}/db.sock"
        self.run("ovsdb-tool", "create", str(database), str(SCHEMA))
        self.daemons = [self.start("ovsdb-server", str(database), f"--remote=p{socket}")]
        wait_until((folder / "db.sock").exists)
        self.run("ovs-vsctl", "--no-wait", "--retry", "--timeout=60", "init")
        self.daemons.append(self.start("ovs-vswitchd", "--enable-dummy=override",
                                       "--disable-system", "--pidfile", socket))
        self.run("ovs-vsctl", "add-br", "br0", "--", "add-port", "br0", "up0", "--",
                 "set", "Port", "up0", "tag=7")

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, env=self.environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, cwd=self.folder)

    def run(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def columns(self, port: str = "up0") -> list[str]:
        return [self.run("ovs-vsctl", "get", "Port", port, column)
                for column in ("tag", "trunks", "vlan_mode")]

    def ask(self, verb: str, **question: object) -> dict[str, str]:
        """Ask the node's end directly, as a controller that dies right afterwards would."""
        text = self.run("python3", str(PROGRAM), verb, json.dumps(question))
        answer: dict[str, str] = json.loads(text)
        return answer

    def arm(self, token: str = "t", *, vlans: str = "30,40", limit_s: float = 30.0,  # noqa: S107
            port: str = "up0") -> dict[str, str]:
        return self.ask("apply", token=token, bridge="br0", port=port, limit_s=limit_s,
                        columns={"tag": "[]", "trunks": vlans, "vlan_mode": "trunk"},
                        before=self.before(port))

    def before(self, port: str) -> dict[str, str] | None:
        """What a controller that has just looked would say of a port."""
        if port not in self.run("ovs-vsctl", "list-ports", "br0").split():
            return None
        return dict(zip(("tag", "trunks", "vlan_mode"), (
            text if text == "[]" else text.strip("[]").replace(" ", "")
            for text in self.columns(port)), strict=True))

    def marker(self, port: str = "up0") -> Path:
        return self.folder / f"hotsite/unconfirmed-{port}.json"


BEFORE = ["7", "[]", "[]"]
AFTER = ["[]", "[30, 40]", "trunk"]


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    made = Switch(tmp_path)
    yield made
    for daemon in reversed(made.daemons):
        daemon.kill()
        daemon.wait()


class Line(Local):
    """A connection to the switch's node on which new connections can be cut."""

    new_connections = True

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        if not self.new_connections:
            raise Unavailable(f"{node} does not answer")
        return await self.run(node, command)


ACCESS = PortVlans((), 7)


def trunk(*vlans: int, port: str = "up0", was: PortVlans = ACCESS) -> NarrowTrunk:
    return NarrowTrunk(target="Host/h", node="h", reason="r", bridge="br0", port=port, wanted=vlans,
                       will_be=PortVlans(vlans, None, "trunk"), was=was, lost=(7,))


def apply(line: Line, action: NarrowTrunk | WidenTrunk | AddUplink | CreateBridge) -> str:
    return asyncio.run(OpenVswitchHands(line).apply(action))


def test_a_confirmed_change_stays(switch: Switch) -> None:
    told = apply(Line(switch.environment), trunk(30, 40))
    assert told == "up0 on h now carries VLANs 30, 40, confirmed over a new connection"
    assert switch.columns() == AFTER
    assert not switch.marker().exists()


def test_nothing_passes_where_nothing_is_declared(switch: Switch) -> None:
    apply(Line(switch.environment), AddUplink(
        target="Host/h", node="h", reason="r", bridge="br0", port="up1", vlans=()))
    assert switch.columns("up1") == ["[]", "[0]", "trunk"]


@pytest.mark.parametrize(("native", "every", "columns"), [
    (0, False, ["[]", "[0, 30]", "trunk"]), (9, False, ["9", "[9, 30]", "native-untagged"]),
    (None, True, ["[]", "[]", "trunk"]), (9, True, ["9", "[]", "native-untagged"]),
])
def test_untagged_frames_pass_on_a_new_uplink_as_declared(
        switch: Switch, native: int | None, every: bool, columns: list[str]) -> None:
    apply(Line(switch.environment), AddUplink(
        target="Host/h", node="h", reason="r", bridge="br0", port="up1", vlans=(30,),
        native=native, every=every))
    assert switch.columns("up1") == columns


def test_a_trunk_that_is_widened_keeps_its_native_vlan_and_all_else(switch: Switch) -> None:
    switch.run("ovs-vsctl", "set", "Port", "up0", "trunks=30", "vlan_mode=native-tagged",
               "other_config:priority-tags=always")
    apply(Line(switch.environment), WidenTrunk(
        target="Host/h", node="h", reason="r", bridge="br0", port="up0", wanted=(30, 40),
        was=PortVlans((30,), 7, "native-tagged"), will_be=PortVlans((30, 40), 7, "native-tagged")))
    assert switch.columns() == ["7", "[30, 40]", "native-tagged"]
    assert "always" in switch.run("ovs-vsctl", "get", "Port", "up0", "other_config")


def test_a_port_that_has_changed_since_it_was_looked_at_is_left_as_it_is(switch: Switch) -> None:
    switch.run("ovs-vsctl", "set", "Port", "up0", "tag=8")
    with pytest.raises(Refused, match=r"has changed since it was looked at \(it is tag=8"):
        apply(Line(switch.environment), trunk(30))
    with pytest.raises(Refused, match="has changed since it was looked at"):
        apply(Line(switch.environment), AddUplink(
            target="Host/h", node="h", reason="r", bridge="br0", port="up0", vlans=(30,)))
    assert switch.columns() == ["8", "[]", "[]"]


def test_a_trunk_that_is_right_is_not_touched(switch: Switch) -> None:
    line = Line(switch.environment)
    apply(line, trunk(30, 40))
    assert apply(line, trunk(30, 40)) == "up0 on h carries VLANs 30, 40 already"


def test_what_nobody_confirms_is_undone_to_the_last_column(switch: Switch) -> None:
    assert switch.arm(limit_s=0.5)["state"] == "armed"
    wait_until(lambda: not switch.marker().exists())
    assert switch.columns() == BEFORE


def test_the_change_holds_until_its_time_is_up(switch: Switch) -> None:
    switch.arm()
    assert switch.columns() == AFTER
    assert switch.ask("confirm", token="t", port="up0")["state"] == "confirmed"


def test_a_second_change_waits_for_the_first(switch: Switch) -> None:
    first = switch.arm()
    second = switch.arm("u", vlans="50")
    assert (second["state"], second["undone_at"]) == ("busy", first["undone_at"])
    assert switch.columns() == AFTER
    switch.ask("confirm", token="t", port="up0")


def test_a_change_that_a_dead_controller_left_is_confirmed_by_the_next(switch: Switch) -> None:
    switch.arm()
    apply(Line(switch.environment), trunk(50, was=PortVlans((30, 40), None, "trunk")))
    assert switch.columns() == ["[]", "[50]", "trunk"]
    assert not switch.marker().exists()


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second be all the time that a change has, and what is waited for afterwards."""
    monkeypatch.setattr(commit_confirm, "LIMIT_S", 1.0)
    monkeypatch.setattr(commit_confirm, "AFTERWARDS_S", 0.1)


def test_where_no_new_connection_gets_in_the_earlier_change_is_left_to_be_undone(
        switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    first = switch.arm(limit_s=5.0)
    line = Line(switch.environment)
    line.new_connections = False
    with pytest.raises(Unavailable, match=f"is undone at {first['undone_at']}"):
        apply(line, trunk(50))
    assert switch.columns() == AFTER
    switch.ask("confirm", token="t", port="up0")


def test_a_confirmation_counts_for_its_own_change_only(switch: Switch) -> None:
    switch.arm(limit_s=0.5)
    assert switch.ask("confirm", token="another", port="up0")["state"] == "never"
    wait_until(lambda: not switch.marker().exists())
    assert switch.columns() == BEFORE


def test_a_confirmation_may_come_twice_and_not_too_late(switch: Switch) -> None:
    switch.arm()
    assert switch.ask("confirm", token="t", port="up0")["state"] == "confirmed"
    assert switch.ask("confirm", token="t", port="up0")["state"] == "confirmed"
    switch.arm("u", vlans="50", limit_s=0.3)
    wait_until(lambda: not switch.marker().exists())
    assert switch.ask("confirm", token="u", port="up0")["state"] == "undone"
    assert switch.columns() == AFTER


def guard_of(switch: Switch) -> int:
    """Return the process that would undo the change, found by the environment it inherited."""
    mark = f"HOTSITE_RUN={switch.environment['HOTSITE_RUN']}".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                found = mark in (process / "environ").read_bytes().split(b"\0")
                argv = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if found and b"apply" in argv:
                return int(process.name)
    raise AssertionError("there is no guard")


def test_the_guard_has_a_session_of_its_own_and_shrugs_a_hang_up_off(switch: Switch) -> None:
    switch.arm(limit_s=1.0)
    guard = guard_of(switch)
    assert os.getsid(guard) not in (os.getsid(0), 0)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        os.kill(guard, number)
    wait_until(lambda: not switch.marker().exists())
    assert switch.columns() == BEFORE


def test_where_even_the_guard_was_killed_the_next_change_begins_from_what_was(
        switch: Switch) -> None:
    switch.arm(limit_s=30.0)
    os.kill(guard_of(switch), signal.SIGKILL)
    marker = json.loads(switch.marker().read_text())
    marker["until_s"] = time.monotonic() - 60
    switch.marker().write_text(json.dumps(marker))
    told = switch.arm("u", vlans="50")  # what was seen of it is no longer so: its guard is done for
    assert (told["state"], switch.columns()) == ("refused", BEFORE)
    assert switch.arm("u", vlans="50")["state"] == "armed"
    assert json.loads(switch.marker().read_text())["columns"] == {
        "tag": "7", "trunks": "[]", "vlan_mode": "[]"}
    switch.ask("confirm", token="u", port="up0")


def test_without_a_new_connection_it_is_said_that_the_node_undid_it_and_when(
        switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    line = Line(switch.environment)
    line.new_connections = False
    with pytest.raises(Undone, match=r"and h undid it by itself at \d\d:\d\d:\d\d$"):
        apply(line, trunk(30, 40))
    wait_until(lambda: not switch.marker().exists())
    assert switch.columns() == BEFORE


def waits(environment: dict[str, str], port: str) -> bool:
    """Whether a change of a port is neither confirmed nor undone."""
    return Path(environment["HOTSITE_RUN"], f"unconfirmed-{port}.json").exists()


class CutLine(Line):
    """A line that breaks while the change is made on it; the node is reached again later."""

    def __init__(self, environment: dict[str, str], *, arrives: bool, back: bool) -> None:
        super().__init__(environment)
        self.arrives, self.back, self.began = arrives, back, False

    async def run(self, node: str, command: Command) -> Reply:
        if not self.began:
            self.began = True
            if self.arrives:
                await super().run(node, command)
            raise OutcomeUnknown("the connection to h broke while env was at work")
        return await super().run(node, command)

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        port = json.loads(command.argv[-1])["port"]
        if not self.back and waits(self.environment, port):
            raise Unavailable(f"{node} does not answer")
        return await super().run(node, command)


def test_a_change_that_cuts_its_own_line_and_was_undone_is_said_to_be_so(
        switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit_confirm, "LIMIT_S", 1.0)
    with pytest.raises(Undone, match=r"could not be reached any more, and h undid it by itself at"):
        apply(CutLine(switch.environment, arrives=True, back=False), trunk(30, 40))
    assert switch.columns() == BEFORE


def test_a_line_that_broke_for_another_reason_costs_nothing(switch: Switch) -> None:
    apply(CutLine(switch.environment, arrives=True, back=True), trunk(30, 40))
    assert switch.columns() == AFTER
    assert not switch.marker().exists()


def test_what_had_not_begun_when_the_line_broke_is_tried_again(switch: Switch) -> None:
    with pytest.raises(Unavailable, match="broke before it had begun"):
        apply(CutLine(switch.environment, arrives=False, back=True), trunk(30, 40))
    assert switch.columns() == BEFORE


def test_a_new_uplink_is_unplugged_again_unless_confirmed(switch: Switch) -> None:
    assert switch.arm(port="up1", limit_s=0.5)["state"] == "armed"
    assert "up1" in switch.run("ovs-vsctl", "list-ports", "br0")
    wait_until(lambda: not switch.marker("up1").exists())
    assert "up1" not in switch.run("ovs-vsctl", "list-ports", "br0")


def test_an_uplink_is_plugged_in_as_a_trunk(switch: Switch) -> None:
    apply(Line(switch.environment), AddUplink(
        target="Host/h", node="h", reason="r", bridge="br0", port="up1", vlans=(200, 30)))
    assert switch.columns("up1") == ["[]", "[30, 200]", "trunk"]


def test_a_port_of_another_bridge_is_left_there(switch: Switch) -> None:
    switch.run("ovs-vsctl", "add-br", "br1", "--", "add-port", "br1", "up1")
    with pytest.raises(Refused, match="up1 is in bridge br1; it is as it was"):
        apply(Line(switch.environment), trunk(30, port="up1"))


def test_a_bridge_is_created_once_and_its_spanning_tree_follows(switch: Switch) -> None:
    line = Line(switch.environment)
    create = CreateBridge(target="Host/h", node="h", reason="r", bridge="br9", rstp=True)
    assert apply(line, create).startswith("created bridge br9 on h")
    assert apply(line, create) == "h has bridge br9; its spanning tree is on"
    assert switch.run("ovs-vsctl", "get", "Bridge", "br9", "rstp_enable") == "true"


def test_a_switch_that_does_not_run_is_tried_again(switch: Switch) -> None:
    for daemon in reversed(switch.daemons):
        daemon.kill()
        daemon.wait()
    (switch.folder / "db.sock").unlink()
    with pytest.raises(Unavailable, match="does not run"):
        apply(Line(switch.environment), trunk(30))


def test_a_switch_that_hangs_is_not_said_to_be_as_it_was(switch: Switch) -> None:
    os.kill(switch.daemons[1].pid, signal.SIGSTOP)
    impatient = switch.folder / "bin/ovs-vsctl"
    impatient.write_text('#!/bin/sh\nshift\nexec /usr/bin/ovs-vsctl --timeout=1 "$@"\n')
    impatient.chmod(0o700)
    with pytest.raises(OutcomeUnknown, match="did not take it up"):
        apply(Line(switch.environment), trunk(30))
    assert switch.marker().exists()  # the guard stands and goes on trying
    os.kill(guard_of(switch), signal.SIGKILL)
    os.kill(switch.daemons[1].pid, signal.SIGCONT)

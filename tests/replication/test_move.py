"""A planned move, cut off or refused at any of its steps: one VM, and with it its memory."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.plan.actions.failover import MoveDomain
from controller.plan.actions.promotion import PromoteReplica
from controller.plan.actions.replica import ReplicateDomain
from controller.providers.libvirt.domain import SHUT_DOWN
from controller.providers.node import Node
from controller.replication import memory, move, promotion
from controller.replication.mover import Mover
from controller.transport.base import Command, Reply
from tests.replication.movers import PATH, UUID, Hosts

SOURCE, TARGET, OLD, NEW = "paris-1", "milan-1", 2, 3
NO_DOMAIN = Reply(1, "", "error: failed to get domain 'x'")
DONE = Reply(0, "", "")


def xml(epoch: int, path: str, more: str = "") -> str:
    """Return a domain of an epoch, on a disk."""
    return (f"<domain type='qemu'><name>sql</name><uuid>{UUID}</uuid><memory>131072</memory>"
            f"<metadata><vm xmlns='https://hotsite.invalid/domain/1' estate='lab' name='sql'"
            f" epoch='{epoch}' uuid='{UUID}'/></metadata>"
            f"<os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>{more}<devices>"
            f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source file='{path}'/><target dev='vda'/></disk></devices></domain>")


class Crashed(BaseException):
    """The controller is gone."""


@dataclass
class Host:
    """What libvirt and a replica's folder on one host hold of the VM."""

    epoch: int | None = None
    """Of its definition; None: there is none."""
    life: int = 0
    """Which run of the guest it runs; 0: it is off."""
    saved: int = 0
    """Which run would go on at a start; 0: it would boot."""
    promoted: bool = False
    beside: int = 0
    """Which run's memory lies beside the replica."""


@dataclass
class Pair:
    """Two hosts, each with its libvirt, and what can go wrong: before or after the n-th command."""

    hosts: dict[str, Host] = field(default_factory=lambda: {
        SOURCE: Host(epoch=OLD, life=1), TARGET: Host()})
    crash_before: int = 0
    crash_after: int = 0
    broken: str = ""
    """A word of the command that fails at the target."""
    asked: list[str] = field(default_factory=list)
    lives: Any = field(default_factory=lambda: count(2))
    highest_running: int = 1

    async def run(self, name: str, command: Command) -> Reply:
        """Do one command on a host."""
        await asyncio.sleep(0)
        words = command.argv[6:] if "sh" in command.argv else command.argv[2:]
        script = command.argv[4] if "sh" in command.argv else ""
        what = next((known for known, text in SCRIPTS.items() if text == script), "") or (
            "managedsave" if "managedsave --running" in script else
            "forget" if "managedsave-remove" in script else
            words[2] if script else words[4])
        self.note(f"{name} {what}")
        host = self.hosts[name]
        reply = Reply(1, "", "error: it is broken") if (
            self.broken == what and name == TARGET) else self.do(what, host, command)
        running = [one for one in self.hosts.values() if one.life]
        self.highest_running = max(self.highest_running, len(running))
        self.noted()
        return reply

    def note(self, what: str) -> None:
        """Write down what is asked for, unless the controller dies before that."""
        self.asked.append(what)
        if len(self.asked) == self.crash_before:
            raise Crashed

    def noted(self) -> None:
        """Die after the last thing that was asked for, if that is due."""
        if len(self.asked) == self.crash_after:
            raise Crashed

    def do(self, what: str, host: Host, command: Command) -> Reply:
        """Let one host do it."""
        match what:
            case "domstate" | "dumpxml":
                return NO_DOMAIN if host.epoch is None else Reply(0, {
                    "domstate": "running" if host.life else "shut off",
                    "dumpxml": xml(host.epoch, "/paris/sql.qcow2")}[what], "")
            case "managedsave-dumpxml":
                return DONE if host.saved else Reply(
                    1, "", "error: Failed to open file 'sql.save': No such file or directory")
            case "start" | "resume":
                self.start(host)
            case "managedsave":
                host.saved, host.life = host.life, 0
            case "shut-down":
                host.life = 0
            case "forget":
                host.saved = 0
            case "undefine" if host.epoch == NEW:
                host.epoch, host.saved = None, 0
            case _:
                return self.answer(what, host, command)
        return DONE

    def answer(self, what: str, host: Host, command: Command) -> Reply:
        """Let the mover on one host do it."""
        match what:
            case "demote":
                host.promoted, host.beside, host.saved = False, 0, 0
                return Reply(0, '{"demoted": 3}', "")
            case "promote":
                host.promoted = True
                return Reply(0, json.dumps({"machines": [{"promoted": {
                    "xml": xml(NEW, "/milan/sql.fo-3.qcow2"), "runs": bool(host.life),
                    "domain": "sql", "remarks": [], "ejected": []}}]}), "")
            case "launch":
                host.epoch = NEW
                if json.loads(command.input)["machines"][0]["start"]:
                    host.saved = 0          # --force-boot
                    self.start(host)
                return Reply(0, json.dumps({"machines": [{}]}), "")
            case "memory-show":
                return Reply(0, json.dumps({"xml": xml(OLD, "/paris/sql.qcow2")}), "")
            case "memory-put":
                told = json.loads(command.input)["xml"]
                assert "/milan/sql.fo-3.qcow2" in told
                assert f'epoch="{NEW}"' in told
                host.saved, host.beside = host.beside, 0
                return Reply(0, "{}", "")
        return DONE

    def start(self, host: Host) -> None:
        """Start the VM on a host, as libvirt does."""
        host.life, host.saved = host.saved or next(self.lives), 0

    @property
    def vm(self) -> Host:
        """Return the host whose copy is the VM: that of the highest epoch."""
        return max((one for one in self.hosts.values() if one.epoch is not None),
                   key=lambda one: one.epoch or 0)

    async def copy(self, action: ReplicateDomain) -> bool:
        """Make a restore point."""
        self.note("copy")
        if self.broken == "copy" and not self.hosts[SOURCE].life:
            raise Unavailable("no restore point was made")
        self.noted()
        return True

    async def promote(self, action: PromoteReplica, on_made: promotion.OnMade | None) -> str:
        """Make it the VM, by the real hands."""
        return await promotion.Promotions().promote(self.mover(TARGET), action, on_made)

    async def carry(self, copy: ReplicateDomain, size_bytes: int, failed: str) -> None:
        """Bring the memory over."""
        self.note("carry")
        if self.broken == "carry":
            raise Unavailable("the line broke")
        assert size_bytes == 128 << 20
        self.hosts[TARGET].beside = self.hosts[SOURCE].saved
        self.noted()

    def mover(self, name: str) -> Mover:
        """Return the mover on a host."""
        return Mover(self.node(name))

    def node(self, name: str) -> Node:
        """Return one of its hosts, reached over itself."""
        transport: Any = self
        return Node(transport, name)


SCRIPTS = {"shut-down": SHUT_DOWN, "fits": memory.FITS, "room": memory.ROOM,
           "resume": memory.RESUME, "undefine": move.UNDEFINE}


def order(*, by_memory: bool = True, pause_s: float = 30.0) -> MoveDomain:
    """Return the order to move sql from paris-1 to milan-1."""
    target = "VirtualMachine/sql"
    return MoveDomain(
        target=target, node=SOURCE, reason="a person wants it", domain="sql", uuid=UUID,
        limit_s=60, by_memory=by_memory, pause_s=pause_s,
        copy=ReplicateDomain(
            target="Replica/sql", node=SOURCE, reason="it moves", domain="sql", uuid=UUID,
            to=TARGET, path=PATH, disks=(), replication_address="10.0.0.1",
            to_replication_address="10.0.0.2", sequence=5),
        promotion=PromoteReplica(target=target, node=TARGET, reason="it moves", uuid=UUID,
                                 path=PATH, sequence=0, epoch=NEW, estate="lab"))


def moved(pair: Pair, **how: Any) -> str:
    """Let the controller move it."""
    hands = move.Hands(pair.copy, pair.promote, pair.carry)
    return asyncio.run(move.move(pair.node(SOURCE), order(**how), hands))


def is_there(pair: Pair, life: int = 1) -> None:
    """Hold that it runs at the target alone, in that life, and that nothing is left."""
    source, target = pair.hosts[SOURCE], pair.hosts[TARGET]
    assert (target.epoch, target.life, target.saved) == (NEW, life, 0)
    assert (source.life, source.saved, pair.highest_running) == (0, 0, 1)


def is_at_home(pair: Pair, life: int = 1) -> None:
    """Hold that it runs at the source alone, and that nothing of the move is left."""
    source, target = pair.hosts[SOURCE], pair.hosts[TARGET]
    assert (source.epoch, source.life) == (OLD, life)
    assert target == Host()
    assert pair.highest_running == 1


def test_its_memory_goes_along() -> None:
    pair = Pair()
    assert "its memory went along, and it stood still for" in moved(pair)
    is_there(pair)


def test_without_its_memory_it_is_shut_down_and_boots() -> None:
    pair = Pair()
    assert "it was off for" in moved(pair, by_memory=False)
    is_there(pair, life=2)
    assert not {"paris-1 managedsave", "carry"} & set(pair.asked)


@pytest.mark.parametrize("broken", ["fits", "room", "copy", "carry", "promote", "memory-show",
                                    "memory-put", "launch", "resume"])
def test_whatever_is_refused_there_it_goes_on_at_home_in_the_same_life(broken: str) -> None:
    pair = Pair(broken=broken)
    with pytest.raises((Refused, Unavailable)):
        moved(pair)
    is_at_home(pair)


@pytest.mark.parametrize("broken", ["copy", "promote", "launch"])
def test_one_that_was_shut_down_boots_at_home_if_it_cannot_be_there(broken: str) -> None:
    pair = Pair(broken=broken)
    with pytest.raises((Refused, Unavailable), match="it runs on paris-1 as before"):
        moved(pair, by_memory=False)
    is_at_home(pair, life=2)


@pytest.mark.parametrize("left", ["undefine", "demote"])
def test_what_cannot_be_taken_back_there_is_not_started_at_home(left: str) -> None:
    pair = Pair()

    async def carry(copy: ReplicateDomain, size_bytes: int, failed: str) -> None:
        pair.broken = left
        raise Unavailable("the line broke")

    hands = move.Hands(pair.copy, pair.promote, carry)
    with pytest.raises(OutcomeUnknown, match="it is off on both hosts"):
        asyncio.run(move.move(pair.node(SOURCE), order(), hands))
    assert pair.hosts[SOURCE].life == 0
    assert pair.hosts[SOURCE].saved == 1


@pytest.mark.parametrize("fails", ["copy", "carry"])
@pytest.mark.parametrize("unknown", [True, False])
def test_memory_goes_while_the_last_difference_is_copied_and_both_end_before_any_is_taken_back(
        fails: str, *, unknown: bool) -> None:
    pair, ended = Pair(), list[str]()
    both = asyncio.Barrier(2)       # neither waits for the other's end: that would hang here

    async def do(name: str) -> None:
        await both.wait()
        if name == fails:
            raise (OutcomeUnknown if unknown else Unavailable)("the line broke")
        for _ in range(10):
            await asyncio.sleep(0)
            assert "milan-1 undefine" not in pair.asked
        ended.append(name)
        raise Refused("nor this")

    async def copy(action: ReplicateDomain) -> bool:
        if not pair.hosts[SOURCE].life:
            await do("copy")
        return True

    async def carry(copy: ReplicateDomain, size_bytes: int, failed: str) -> None:
        await do("carry")

    hands = move.Hands(copy, pair.promote, carry)
    with pytest.raises(OutcomeUnknown if unknown else (Refused, Unavailable)):
        asyncio.run(move.move(pair.node(SOURCE), order(), hands))
    assert ended == [{"copy": "carry", "carry": "copy"}[fails]]
    if unknown:     # nothing was taken back: the memory of it is where it was
        assert (pair.hosts[SOURCE].life, pair.hosts[SOURCE].saved) == (0, 1)
    else:
        is_at_home(pair)


def crashes() -> list[Pair]:
    """Return pairs on which the controller dies before and after each step of a move."""
    whole = Pair()
    moved(whole)
    steps = range(1, len(whole.asked) + 1)
    return [*(Pair(crash_before=step) for step in steps),
            *(Pair(crash_after=step) for step in steps)]


def crash(pair: Pair) -> None:
    """Let the controller die in the middle of a move."""
    with pytest.raises(Crashed):
        moved(pair)
    pair.crash_before = pair.crash_after = 0


@pytest.mark.parametrize("pair", crashes())
def test_wherever_the_controller_dies_a_start_of_the_vm_goes_on_with_its_memory(
        pair: Pair) -> None:
    crash(pair)
    if not pair.vm.life:
        pair.start(pair.vm)
    assert [one.life for one in pair.hosts.values() if one.life] == [1]


@pytest.mark.parametrize("pair", crashes())
def test_wherever_the_controller_dies_the_next_one_ends_the_move(pair: Pair) -> None:
    crash(pair)
    if pair.vm is pair.hosts[SOURCE]:
        moved(pair)
        is_there(pair)
    elif not pair.vm.life:
        pair.start(pair.vm)
    assert [one.life for one in pair.hosts.values() if one.life] == [1]
    assert pair.highest_running == 1


def test_what_libvirt_had_saved_is_resumed_and_not_booted_elsewhere() -> None:
    for by_memory in (True, False):
        pair = Pair()
        source = pair.hosts[SOURCE]
        source.saved, source.life = 1, 0
        moved(pair, by_memory=by_memory)
        is_there(pair, life=1 if by_memory else 2)
        assert pair.asked.index("paris-1 start") < pair.asked.index("copy")


def test_it_stays_while_what_it_writes_takes_longer_than_the_declared_pause() -> None:
    pair, clock = Pair(), iter(range(0, 10_000, 40))

    def patched(body: Callable[[], Any]) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(move.time, "monotonic", lambda: float(next(clock)))
            return body()

    with pytest.raises(Refused, match=r"after 5 rounds .* still took 40s to copy"):
        patched(lambda: moved(pair))
    is_at_home(pair)
    patched(lambda: moved(pair, pause_s=41.0))
    is_there(pair)


def test_a_processor_as_it_is_wants_the_same_one() -> None:
    hosts: Any = Unlike()
    with pytest.raises(ActionError, match="differs from that of paris-1"):
        asyncio.run(memory.require_movable(
            Node(hosts, SOURCE), Node(hosts, TARGET), order(), "not moved"))


class Unlike(Hosts):
    """Two hosts with different processors."""

    async def run(self, node: str, command: Command) -> Reply:
        """Show a guest, or the processor of the host."""
        if "capabilities" in command.argv:
            return Reply(0, f"<capabilities><host><cpu><arch>x86_64</arch><model>{node}</model>"
                            "</cpu></host></capabilities>", "")
        return Reply(0, xml(OLD, "/a", "<cpu mode='host-passthrough'/>"), "")

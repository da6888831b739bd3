"""Two hosts whose movers are played: what each verb is asked, in order, and what it answers."""

import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from controller.plan.actions.replica import CopyMode, DiskCopy, ReplicateDomain
from controller.providers.node import Node
from controller.replication.bandwidth import Shares
from controller.replication.mover import Mover, MoverSession
from controller.replication.provider import ReplicaHands
from controller.replication.report import CopyReport, Progress
from controller.replication.ssh_route import KeySource
from controller.replication.target_host import TargetEnd
from controller.replication.transfer import CopyEnds, Terms, Transfer
from controller.transport.base import Command, Endpoint, Reply, SideChannel
from controller.transport.keys import OneTimeKey

UUID = "ac919846-041c-5282-aa02-f968f5a26f2d"
PATH = f"/images/hotsite-replicas/{UUID}"
MIB = 1 << 20
ORIGIN = {"layers": [["7.9", 1, 2, 3]], "whole": True, "apart": False}
Answer = Callable[[dict[str, Any]], Any]


class Broken(Exception):
    """What a played mover complains of: its exit status and its sentence."""

    def __init__(self, status: int, sentence: str, error: str = "") -> None:
        super().__init__(sentence)
        self.status, self.error = status, error


def endpoint(name: str) -> Endpoint:
    """Return a host's endpoint."""
    return Endpoint(name, f"{name}.example", 22, "root", "", "")


class PlayedTalk:
    """One conversation: each line told is answered by the player."""

    def __init__(self, player: "Hosts", node: str, verb: str, request: str) -> None:
        self._player, self._node, self._verb = player, node, verb
        self._waiting: deque[str | None] = deque()
        self._ended = Reply(0, "", "")
        self._to = json.loads(request) if verb == "send" else None
        self._number = self._copy = None
        if verb != "send":
            self._waiting.append('{"ready": true}')

    def send(self, line: str) -> None:
        """Answer an order."""
        told = json.loads(line)
        self._number = told.pop("number", None)
        if self._verb == "attend":
            self._answer(told["verb"], told["request"], wrap="answer")
        elif self._verb == "send":
            if self._to is not None:
                self._waiting.append('{"read": true}')
                self._answer("send", {**self._to, **told}, wrap="result")
                self._waiting.append(None)
                self._to = None
        else:
            name = next(iter(told))
            answers = {"begin": "begun", "end": "ended", "drop": "dropped"}
            self._copy = self._number if name == "begin" else self._copy
            self._number = self._copy if name == "end" else self._number
            self._answer(name, told[name], wrap=answers[name])

    def _answer(self, verb: str, request: Any, *, wrap: str) -> None:
        try:
            told = {wrap: self._player.play(self._node, verb, request)}
            self._waiting.append(json.dumps({**self._numbered(), **told}))
        except Broken as broken:
            told = {"status": broken.status, "sentence": str(broken), "error": broken.error}
            if self._verb == "attend":
                self._waiting.append(json.dumps({**self._numbered(), "failed": told}))
            else:
                self._ended = Reply(broken.status, "", json.dumps(told))
                self._waiting.append(None)

    def _numbered(self) -> dict[str, Any]:
        return {} if self._verb == "send" else {"number": self._number}

    async def receive(self) -> str | None:
        """Return the next answer."""
        return self._waiting.popleft() if self._waiting else None

    async def outcome(self, timeout_s: float) -> Reply:
        """Return how it ended."""
        return self._ended


class Hosts:
    """A transport to two played hosts; `asked` is every verb with its request, in order."""

    def __init__(self, **answers: Answer) -> None:
        self.answers: dict[str, Answer] = {**USUAL, **answers}
        self.asked: list[tuple[str, str, Any]] = []

    def play(self, node: str, verb: str, request: Any) -> Any:
        """Return what a verb answers."""
        self.asked.append((node, verb, request))
        return self.answers[verb.replace("-", "_")](request)

    def verbs(self) -> list[str]:
        """Return the verbs in the order in which they were asked."""
        return [verb for _, verb, _ in self.asked]

    def request(self, verb: str) -> Any:
        """Return the last request of a verb."""
        return next(request for _, name, request in reversed(self.asked) if name == verb)

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take no notice."""

    async def run(self, node: str, command: Command) -> Reply:
        """Run a verb that answers once."""
        verb = command.argv[8]
        try:
            request = json.loads(command.input) if command.input.startswith("{") else {}
            return Reply(0, json.dumps(self.play(node, verb, request)), "")
        except Broken as broken:
            return Reply(broken.status, "", json.dumps({"sentence": str(broken)}))

    @asynccontextmanager
    async def converse(self, node: str, command: Command) -> AsyncIterator[PlayedTalk]:
        """Give a played conversation."""
        yield PlayedTalk(self, node, command.argv[8], command.input)

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    channel: SideChannel | None = None) -> tuple[Reply, Reply]:
        """Pour one verb's bytes into another's; a copy that comes so was `relayed`."""
        verb = source[1].argv[8]
        try:
            result = self.play(source[0], "relayed" if verb == "send" else verb,
                               json.loads(source[1].input))
        except Broken as broken:
            return (Reply(broken.status, "", json.dumps({"sentence": str(broken)})),
                    Reply(0, "{}", ""))
        self.play(sink[0], sink[1].argv[8], {})
        if channel is not None:
            channel.on_line(json.dumps({"progress": {
                "read_bytes": MIB, "total_bytes": 2 * MIB, "wire_bytes": MIB}}))
        return Reply(0, "", json.dumps({"result": result})), Reply(0, "{}", "")


def disk_told(**changes: Any) -> dict[str, Any]:
    """Return how the source tells of its one disk."""
    return {"tracked": True, "why": "", "socket": "/s", "export": "vda",
            "bitmap": "backup-vda", "size_bytes": 256 * MIB, "dirty_bytes": MIB, **changes}


def begun(**changes: Any) -> dict[str, Any]:
    """Return what the source says of a copy that began."""
    return {"state": "running", "checkpoint": "hotsite-000002-0c5a", "quiesced": False,
            "unquiesced_because": "", "ago_s": 0.5, "disks": {"vda": disk_told()},
            "xml": "<domain/>", "origins": {"vda": ORIGIN}, "run": "r1", **changes}


def sent(**changes: Any) -> dict[str, Any]:
    """Return the result of a transfer."""
    return {"left": [], "reached": None, "wire_bytes": MIB, "data_bytes": 2 * MIB,
            "read_bytes": 3 * MIB, **changes}


def made(points: int = 1, *, busy: bool = False, **changes: Any) -> dict[str, Any]:
    """Return a replica with so many points; something had changed before the last if `busy`."""
    file = {"name": "base-000001.raw", "size_bytes": 256 * MIB, "present": True}
    told = [{"sequence": number, "checkpoint": f"hotsite-{number:06d}-0c5a",
             "files": {"vda": file["name"] if busy else None}, "facts": {}}
            for number in range(1, points + 1)]
    state = {"points": told, "files": {"vda": [file]} if points else {}, "incoming": {},
               "repair": {}, "scan": [], **changes}
    return {"secret": "aa", "algorithm": "xxh3-128", "replica": state}


def opened(request: dict[str, Any], *missing: tuple[int, int]) -> dict[str, Any]:
    """Return what the target says when disks are opened of which these clusters have not come."""
    return {"disks": {disk: {"missing": list(missing), "missing_ranges": len(missing)}
                      for disk in request["disks"]}}


USUAL: dict[str, Answer] = {
    "probe": lambda request: {"codecs": ["zstd", "zlib"]},
    "replica_make": lambda request: made(),
    "begin": lambda request: begun(),
    "end": lambda request: {"reason": "asked", "was": "ended", "incident": ""},
    "drop": lambda request: ["hotsite-000001-0c5a"],
    "incoming_open": opened, "incoming_drop": lambda request: {},
    "authorize": lambda request: {}, "deauthorize": lambda request: {},
    "send": lambda request: sent(), "relayed": lambda request: sent(),
    "receive": lambda request: {},
    "manifest_out": lambda request: {}, "manifest_in": lambda request: {},
    "incoming_settle": lambda request: {},
    "publish": lambda request: {"files": {"vda": {"stored_bytes": MIB}}},
}


def action(**changes: Any) -> ReplicateDomain:
    """Return the action that makes point 2."""
    disk = DiskCopy("vda", "/images/sql-vda.qcow2", "qcow2", 256 * MIB, CopyMode.INCREMENT)
    usual: dict[str, Any] = {
        "target": "Replica/sql", "node": "paris-1", "reason": "due", "domain": "sql",
        "uuid": UUID, "to": "milan-1", "path": PATH, "disks": (disk,), "sequence": 2,
        "replication_address": "10.78.0.11", "to_replication_address": "10.78.0.21"}
    return ReplicateDomain(**{**usual, **changes})


def hands(hosts: Hosts) -> ReplicaHands:
    """Return the hands that work on played hosts, at an instant that never passes."""
    keys = KeySource(lambda: OneTimeKey("PRIVATE", "ssh-ed25519 AAAA"),
                          lambda endpoint: ("ssh-ed25519 BBBB",))
    made_hands = ReplicaHands(hosts, keys, lambda: 1000.0)
    made_hands.declare("lab", (endpoint("paris-1"), endpoint("milan-1")))
    return made_hands


def transfer(told: list[Progress]) -> Transfer:
    """Return a transfer of point 2 between played hosts, which reports its progress to `told`."""
    hosts, one = Hosts(), action()
    source, target = (Mover(Node(hosts, name)) for name in (one.node, one.to))
    keys = KeySource(lambda: OneTimeKey("PRIVATE", "ssh-ed25519 AAAA"), lambda endpoint: ())
    ends = CopyEnds(source, target, endpoint(one.to), keys, Terms("zlib"), Shares())
    session = MoverSession(one.to, PlayedTalk(hosts, one.to, "attend", ""))
    return Transfer(one, ends, TargetEnd(session, one, "no point was made"), "no point was made",
                    lambda: 1000.0, told.append, CopyReport())

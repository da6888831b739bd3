"""
A grantor: it answers hosts that ask whether they may go on, and can be told to refuse.

It notes first and answers then: whoever waits from the note has waited from after the ask. What was
noted is lost with the process, so one that was started again says "at my start", which is later.

    ask, sealed, of a host that it knows, with a new nonce
      ├── revoked      -> answer "no"; nothing is noted
      └── else         -> noted, then answer "yes"
    anything else      -> silence

Over its unix socket, one request and one answer each (`order`: {"term", "by", "why"}):

    {"verb": "revoke",  "epoch", "hosts", "order"}    durable before it is confirmed -> ages
    {"verb": "restore", "epoch", "hosts", "order"}    -> {"kept": […]}: those of a higher epoch
    {"verb": "disarm" | "arm", "hosts", "order"}      whether this host's guard is counted on
    {"verb": "ages", "hosts"}     -> {"ages": {host: {"age_s", "since", "epoch", "disarmed"}}}
    {"verb": "state"}             -> how it is, for the facts
    {"verb": "stop"}              it ends, after the answer

An age is the time since the last grant to this host by this machine's CLOCK_BOOTTIME, `since` says
whether that is a grant or the grantor's start; `epoch` is null for a host that is not revoked.

While a revocation is written to a disk that hangs, nobody is granted anything by this grantor; the
hosts have others.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, Dict, List, NamedTuple, Optional

from guard import clock, config, control, launch, message
from guard.errors import Refused
from guard.granting.revocations import Order, Revocations
from guard.guarding import readable
from guard.message import Answer, Ask

LATELY_S = 5.0
HOUR_S, DAY_S = 3600.0, 86400.0
ORDERS_S = 1.0          # between two looks at its file
BOOTS = 8               # of one host, whose asks are taken no more
MOST_AT_ONCE = 500
MOST_WORDS = 300


class Heard(NamedTuple):
    """The last ask of a host that was taken."""

    boot: str
    at_ns: int
    earlier_boots: "tuple[str, ...]" = ()


class Grantor:
    """Who was granted when, and who is refused; `clock` is asked by every method that notes."""

    def __init__(self, told: config.GrantorConfig, revocations: Revocations) -> None:
        self.told, self.revocations = told, revocations
        self._knows_since = clock.now()      # of a host without a grant: since when
        self.stops = False
        self._granted: "Dict[str, float]" = {}
        self._heard_at: "Dict[str, float]" = {}
        self._heard: "Dict[str, Heard]" = {}

    def take(self, told: config.GrantorConfig) -> None:
        """
        Go by what it is told from now on; hosts that are not named any more are forgotten.

        One that was granted, and is named again later, counts as granted when it was forgotten.
        """
        self.told = told
        if set(self._heard_at) - set(told.keys):
            self._knows_since = clock.now()
        for table in (self._granted, self._heard, self._heard_at):
            for host in set(table) - set(told.keys):
                del table[host]

    def answer(self, data: bytes) -> Optional[bytes]:
        """Return the answer to a datagram, None for silence."""
        words = message.words_in(data)
        ask = None if words is None else message.parse_ask(words)
        if ask is None or ask.to != self.told.name:
            return None
        key = self.told.keys.get(ask.host)
        if key is None or not message.is_sealed(key, data) or not self._is_new(ask):
            return None
        now = self._heard_at[ask.host] = clock.now()
        granted = ask.host not in self.revocations.hosts
        if granted:
            self._granted[ask.host] = now       # noted before it is said
        return message.seal_answer(key, Answer(ask, granted,
                                               ask.host not in self.revocations.disarmed))

    def _is_new(self, ask: Ask) -> bool:
        """Return whether this nonce was never taken, and take it."""
        last = self._heard.get(ask.host)
        if last is None:
            self._heard[ask.host] = Heard(ask.boot, ask.at_ns)
            return True
        if ask.boot == last.boot:
            if ask.at_ns <= last.at_ns:
                return False
            self._heard[ask.host] = last._replace(at_ns=ask.at_ns)
            return True
        if ask.boot in last.earlier_boots:
            return False
        self._heard[ask.host] = Heard(ask.boot, ask.at_ns,
                                      (last.boot, *last.earlier_boots)[:BOOTS])
        return True

    def ages(self, hosts: "List[str]") -> "Dict[str, Any]":
        """Return how long ago each host was granted last, and whether it is revoked."""
        now = clock.now()
        return {host: {
            "age_s": now - self._granted.get(host, self._knows_since),
            "since": "grant" if host in self._granted else "start",
            "epoch": self.revocations.hosts.get(host, {}).get("epoch"),
            "disarmed": host in self.revocations.disarmed} for host in hosts}

    def state(self) -> "Dict[str, Any]":
        """Return how it is; what changes each second is said of revoked and silent hosts alone."""
        now = clock.now()
        heard = {host: now - at for host, at in self._heard_at.items()}
        revoked = {}
        for host, entry in self.revocations.hosts.items():
            age = self.ages([host])[host]
            revoked[host] = {"epoch": entry["epoch"], "term": entry.get("term", 0),
                             "by": entry.get("by", ""), "why": entry.get("why", ""),
                             "age_s": int(min(age["age_s"], DAY_S)),
                             "since_start": age["since"] == "start"}
        return {"digest": self.told.digest, "program": control.program_version(),
                "name": self.told.name, "term": self.revocations.term,
                "listening_s": rarely(min(now - self._knows_since, HOUR_S)),
                "hears": sorted(host for host, age_s in heard.items() if age_s < LATELY_S),
                "silent": {host: int(min(age_s, HOUR_S)) for host, age_s in heard.items()
                           if age_s >= LATELY_S},
                "never": sorted(set(self.told.keys) - set(heard)),
                "revoked": revoked, "disarmed": sorted(self.revocations.disarmed)}

    def respond(self, request: "Dict[str, Any]") -> "Dict[str, Any]":
        """Return the answer to one request over the unix socket."""
        verb = request.get("verb")
        if verb == "state":
            return self.state()
        if verb == "stop":
            self.stops = True
            return {}
        hosts = _hosts(request["hosts"])
        if verb == "ages":
            return {"ages": self.ages(hosts)}
        order = _order(request["order"])
        if verb == "revoke":
            self.revocations.revoke(_count(request["epoch"]), hosts, order)
            return {"ages": self.ages(hosts)}
        if verb == "restore":
            return {"kept": self.revocations.restore(_count(request["epoch"]), hosts, order)}
        if verb == "disarm":
            self.revocations.disarm(hosts, order)
            return {"ages": self.ages(hosts)}
        if verb == "arm":
            self.revocations.arm(hosts, order)
            return {}
        raise Refused("a grantor knows no verb %r" % (verb,))


def rarely(duration_s: float) -> int:
    """Return a duration rounded down so that it changes less and less often: to a power of two."""
    whole = int(duration_s)
    return 1 << whole.bit_length() - 1 if whole > 0 else 0


def _hosts(names: Any) -> "List[str]":
    if not isinstance(names, list) or len(names) > config.MOST_HOSTS:
        raise ValueError("hosts are a list of names")
    return [str(name) for name in names]


def _count(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError("%r is no epoch or term" % (number,))
    return number


def _order(said: Any) -> Order:
    return Order(_count(said["term"]), str(said["by"])[:MOST_WORDS], str(said["why"])[:MOST_WORDS],
                 control.wall_clock())


def live(folder: str, durable: str, ready: int) -> None:
    """Answer until told to stop; write one byte to `ready` once it listens."""
    told = config.parse_grantor(config.load(folder, config.GRANTOR))
    revocations = Revocations(durable)
    box = socket.socket(told.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    box.setblocking(False)
    box.bind(told.address)              # fails while another grantor has it
    grantor = Grantor(told, revocations)        # started, and so without a grant, only now
    requests = control.listen(folder, control.GRANTOR_SOCKET)
    launch.stay_in_memory()
    os.write(ready, b"1")
    os.close(ready)
    file, looked_at = config.Watched(folder, config.GRANTOR), 0.0
    while not grantor.stops:
        fds = readable([box.fileno(), requests.fileno()], ORDERS_S)
        if box.fileno() in fds:
            _answer_all(box, grantor)
        if requests.fileno() in fds:
            control.answer_all(requests, grantor.respond)
        if clock.now() - looked_at >= ORDERS_S:
            looked_at = clock.now()
            _read_orders(file, grantor)


def _answer_all(box: socket.socket, grantor: Grantor) -> None:
    for _ in range(MOST_AT_ONCE):
        try:
            data, whence = box.recvfrom(message.MOST_BYTES + 1)
        except OSError:
            return
        answer = grantor.answer(data)
        if answer is not None:
            with contextlib.suppress(OSError):
                box.sendto(answer, whence)


def _read_orders(file: config.Watched, grantor: Grantor) -> None:
    """Take a new file, unless it names another address: that needs another grantor."""
    new = file.changed()
    if new is None:
        return
    with contextlib.suppress(Refused):
        told = config.parse_grantor(new)
        if (told.name, told.address) == (grantor.told.name, grantor.told.address):
            grantor.take(told)

"""
To whom nobody may grant any more, and up to which epoch: on the disk before it is confirmed.

    revoked.json  {"version": 1, "term": N, "hosts": {host: {"epoch", "term", "by", "why", "at"}},
                   "disarmed": {host: {"by", "why", "at"}}}

It outlives reboots: a witness that was switched off for a week still refuses. Written beside,
fsynced, renamed, and the folder fsynced; what is in memory changes only after that, so that nobody
is told of a refusal that a power cut would undo. A file that is there and makes no sense is an
error, and no empty list: then nothing is granted to anybody until a person looks.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Dict, NamedTuple

from guard.errors import Superseded, TryAgain

NAME = "revoked.json"
VERSION = 1


class Order(NamedTuple):
    """Who orders, by which term, and why."""

    term: int
    by: str
    why: str
    at: float


class Revocations:
    """What is revoked and disarmed; `folder` lies on a disk."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.term = 0
        self.hosts: "Dict[str, Dict[str, Any]]" = {}
        self.disarmed: "Dict[str, Dict[str, Any]]" = {}
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._read()

    def _read(self) -> None:
        path = os.path.join(self.folder, NAME)
        try:
            with open(path, encoding="utf-8") as file:
                said = json.load(file)
            if said["version"] != VERSION:
                raise ValueError("its version is %r" % (said["version"],))
            self.term = int(said["term"])
            self.hosts = {str(host): dict(entry, epoch=int(entry["epoch"]))
                          for host, entry in said["hosts"].items()}
            self.disarmed = {str(host): dict(entry) for host, entry in said["disarmed"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise TryAgain("%s cannot be read (%r): nothing is granted by this machine until it"
                           " can; put it back from another grantor, or remove it once you know"
                           " that no host is revoked" % (path, error)) from None

    def revoke(self, epoch: int, hosts: "list[str]", order: Order) -> None:
        """Grant to these no more; one that a higher epoch has revoked stays so."""
        self._check(order)
        after = dict(self.hosts)
        for host in hosts:
            if host not in after or after[host]["epoch"] <= epoch:
                after[host] = {"epoch": epoch, "term": order.term, "by": order.by,
                               "why": order.why, "at": order.at}
        self._write(max(self.term, order.term), after, self.disarmed)

    def restore(self, epoch: int, hosts: "list[str]", order: Order) -> "list[str]":
        """Grant to these again; return those that a higher epoch has revoked, which stay so."""
        self._check(order)
        kept = [host for host in hosts if host in self.hosts and self.hosts[host]["epoch"] > epoch]
        after = {host: entry for host, entry in self.hosts.items()
                 if host not in hosts or host in kept}
        self._write(max(self.term, order.term), after, self.disarmed)
        return kept

    def disarm(self, hosts: "list[str]", order: Order) -> None:
        """Know that these have no guard to count on."""
        self._check(order)
        said = {"by": order.by, "why": order.why, "at": order.at}
        self._write(max(self.term, order.term), self.hosts,
                    {**self.disarmed, **dict.fromkeys(hosts, said)})

    def arm(self, hosts: "list[str]", order: Order) -> None:
        """Count on the guards of these again."""
        self._check(order)
        self._write(max(self.term, order.term), self.hosts,
                    {host: entry for host, entry in self.disarmed.items() if host not in hosts})

    def _check(self, order: Order) -> None:
        if order.term < self.term:
            raise Superseded("a controller of term %d has been here, and this order is of term %d:"
                             " whoever gives it conducts no more" % (self.term, order.term))

    def _write(self, term: int, hosts: "Dict[str, Dict[str, Any]]",
               disarmed: "Dict[str, Dict[str, Any]]") -> None:
        if (term, hosts, disarmed) == (self.term, self.hosts, self.disarmed):
            return
        path = os.path.join(self.folder, NAME)
        part = "%s.%d.part" % (path, os.getpid())
        try:
            with open(part, "w", encoding="utf-8") as file:
                json.dump({"version": VERSION, "term": term, "hosts": hosts, "disarmed": disarmed},
                          file)
                file.flush()
                os.fsync(file.fileno())
            os.rename(part, path)
            folder = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise TryAgain("%s cannot be written: %s; nothing was changed" % (
                path, error.strerror)) from None
        self.term, self.hosts, self.disarmed = term, hosts, disarmed

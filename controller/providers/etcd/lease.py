"""
The lease in etcd: two keys, written in one transaction, and leases of etcd that are used once.

    /hotsite/ESTATE/lease/holder   {"holder", "term"}              ends with its lease of etcd
    /hotsite/ESTATE/lease/term     {"holder", "term", "released"}  stays, and only grows

    take      the holder's key is not there, the term is as read  ─► both keys, term + 1
    renew     the holder's key is as we wrote it                  ─► the same key on a new lease
    release   the holder's key is as we wrote it                  ─► away; the term's key says so

Every renewal takes a new lease of etcd and lets the old one run out; `keepalive` is not used. It is
answered by whoever believes that it leads, without asking the others: a leader that was cut off or
held up says yes to a lease that its successor gives away, and later revokes leases that were kept
at the successor. Granting a lease and writing a key are decided by the majority, so a lease lasts
from then for its whole time at every leader that there will be. The controller counts from before
it asked, and so stops first. (What runs out of itself needs no cleaning up: some leases of a few
seconds.)

etcd counts in whole seconds, and its own clocks may run faster: the time that it is given is
rounded up and longer by `drift`. How the clocks of its members stand to each other does not matter.

Rule 1: a record that cannot be understood is refused and left as it is; it is never term 0.
"""

import json
import math
from dataclasses import dataclass
from typing import Any, Final

from controller.errors import OutcomeUnknown, Refused
from controller.providers.etcd.gateway import Gateway, decoded, encoded
from controller.store.lease import HIGHEST_TERM, LeaseState
from controller.transport.json_text import parse_json

ENDING_S: Final = 0.1
"""What is left of a lease whose time is up, and which etcd has not taken away yet."""


@dataclass(frozen=True, slots=True)
class Noted:
    """Both keys at one instant."""

    holder: str
    term: int
    held: bool
    """Whether the holder's key is there."""
    released: bool
    term_revision: int
    """When the term's key was last written; 0 if never."""
    etcd_lease: str


class EtcdLease:
    """The lease of one estate in one cluster of etcd."""

    def __init__(self, gateway: Gateway, estate: str, *, drift: float) -> None:
        self._gateway, self._drift = gateway, drift
        self._holder_key = f"/hotsite/{estate}/lease/holder"
        self._term_key = f"/hotsite/{estate}/lease/term"

    @property
    def place(self) -> str:
        """Return where it is kept."""
        return "etcd"

    async def take(self, holder: str, ttl_s: float, above: int = 0) -> LeaseState:
        """Take it if it is free."""
        noted = await self._noted()
        if noted.held and noted.holder == holder:
            return await self.renew(holder, noted.term, ttl_s)
        if noted.held:
            return await self._denied(noted, f"{noted.holder} has it in term {noted.term}")
        term = max(noted.term, above) + 1
        lease = await self._new_lease(ttl_s)
        done = await self._transact(
            [{"key": encoded(self._holder_key), "target": "CREATE", "createRevision": "0"},
             {"key": encoded(self._term_key), "target": "MOD",
              "modRevision": str(noted.term_revision)}],
            [self._put_holder(holder, term, lease),
             self._put_term(holder, term, released=False)])
        if not done:    # another was quicker
            noted = await self._noted()
            return await self._denied(noted, f"{noted.holder} has it in term {noted.term}")
        return LeaseState(holder, term, True, ttl_s, f"{holder} has it in term {term}")

    async def renew(self, holder: str, term: int, ttl_s: float) -> LeaseState:
        """Keep it for another time to live."""
        lease = await self._new_lease(ttl_s)
        if await self._transact([self._is_ours(holder, term)],
                                [self._put_holder(holder, term, lease)]):
            return LeaseState(holder, term, True, ttl_s, f"{holder} keeps it in term {term}")
        return await self._denied(await self._noted(),
                                  f"it is not {holder}'s in term {term} any more")

    async def release(self, holder: str, term: int) -> LeaseState:
        """Give it up."""
        done = await self._transact(
            [self._is_ours(holder, term)],
            [{"requestDeleteRange": {"key": encoded(self._holder_key)}},
             self._put_term(holder, term, released=True)])
        return await self._denied(await self._noted(), f"{holder} gave it up" if done else
                                  f"it is not {holder}'s in term {term}")

    async def read(self) -> LeaseState:
        """Return whose it is."""
        return await self._denied(await self._noted(), "it was read")

    async def close(self) -> None:
        """Close the connections to etcd."""
        await self._gateway.close()

    def _is_ours(self, holder: str, term: int) -> dict[str, Any]:
        return {"key": encoded(self._holder_key), "target": "VALUE",
                "value": encoded(record(holder, term))}

    def _put_holder(self, holder: str, term: int, lease: str) -> dict[str, Any]:
        return {"requestPut": {"key": encoded(self._holder_key), "lease": lease,
                               "value": encoded(record(holder, term))}}

    def _put_term(self, holder: str, term: int, *, released: bool) -> dict[str, Any]:
        return {"requestPut": {"key": encoded(self._term_key),
                               "value": encoded(record(holder, term, released=released))}}

    async def _new_lease(self, ttl_s: float) -> str:
        """Return the number of a new lease of etcd, at least `ttl_s` long by any clock."""
        seconds = math.ceil(ttl_s * (1 + self._drift))
        answer = await self._gateway.ask("/v3/lease/grant", {"TTL": str(seconds), "ID": "0"})
        number, granted_s = str(answer.get("ID", "")), str(answer.get("TTL", ""))
        if not number.isdigit() or not granted_s.isdigit() or int(granted_s) < seconds:
            raise OutcomeUnknown(f"etcd granted no lease of {seconds} s:"
                                 f" {answer.get('error') or answer}")
        return number

    async def _transact(self, compare: list[dict[str, Any]],
                        writes: list[dict[str, Any]]) -> bool:
        """Write if every comparison is equal, and return whether that was so."""
        answer = await self._gateway.ask("/v3/kv/txn", {
            "compare": [one | {"result": "EQUAL"} for one in compare], "success": writes})
        return answer.get("succeeded", False) is True

    async def _noted(self) -> Noted:
        """Return both keys at one instant.

        Errors: Refused when what is there is not a lease of ours.
        """
        answer = await self._gateway.ask("/v3/kv/txn", {"success": [
            {"requestRange": {"key": encoded(key)}}
            for key in (self._holder_key, self._term_key)]})
        try:
            holder, term = ([] if (found := one["response_range"].get("kvs")) is None else found
                            for one in answer["responses"])
            return parse_noted(holder, term)
        except (KeyError, ValueError, TypeError) as error:
            raise Refused(f"what etcd keeps under {self._term_key} and {self._holder_key} is no"
                          f" lease ({error}); once no controller acts any more, delete both by"
                          " hand") from error

    async def _denied(self, noted: Noted, sentence: str) -> LeaseState:
        """Return a lease that is not the asker's, and for how long."""
        if not noted.held:
            return LeaseState("" if noted.released else noted.holder, noted.term, False, 0.0,
                              sentence)
        answer = await self._gateway.ask("/v3/lease/timetolive", {"ID": noted.etcd_lease})
        left = str(answer.get("TTL", "0"))
        left_s = max(ENDING_S, float(left)) if left.isdigit() else ENDING_S
        return LeaseState(noted.holder, noted.term, False, left_s, sentence)


def record(holder: str, term: int, **more: bool) -> str:
    """Return what is written; the same for the same holder and term, since it is compared."""
    return json.dumps({"holder": holder, "term": term, **more}, sort_keys=True)


def parse_noted(holder: list[dict[str, Any]], term: list[dict[str, Any]]) -> Noted:
    """Return both keys from the rows of etcd.

    Errors: ValueError, KeyError or TypeError.
    """
    if not term and not holder:
        return Noted("", 0, held=False, released=True, term_revision=0, etcd_lease="")
    last = parse_json(decoded(term[0]["value"])) if term else {"term": 0}
    now = parse_json(decoded(holder[0]["value"])) if holder else last
    for one in (last, now):
        if not isinstance(one["term"], int) or not 1 <= one["term"] <= HIGHEST_TERM:
            raise ValueError(f"term {one['term']!r}")
    return Noted(str(now["holder"]), max(last["term"], now["term"]), held=bool(holder),
                 released=not holder and last["released"] is True,
                 term_revision=int(term[0]["mod_revision"]),
                 etcd_lease=str(holder[0].get("lease", "0")) if holder else "")

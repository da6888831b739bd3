"""One controller as far as the lease is concerned, in a process of its own that can be killed.

Its one argument is JSON: the place, the estate, the time to live, whether it is a standby. It
prints its term each time it begins to conduct.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from controller.model.desired import Desired
from controller.model.failover.spec import LeaseSpec
from controller.providers.etcd.lease import EtcdLease
from controller.providers.lease import QUESTIONS, etcd_gateway
from controller.providers.linux.lease import WitnessLease
from controller.reconcile.lease import Candidate, Mode
from controller.reconcile.manager import boottime, holder_name
from controller.source.load import load_folder
from controller.store.lease import Lease
from controller.transport.base import Endpoint
from controller.transport.ssh import SshTransport

SPECS = Path(__file__).parent.parent.parent.parent / "specs"


def client(words: dict[str, Any], answer_s: float) -> Lease:
    """Return a client of the place that the words name."""
    if words["endpoints"]:
        spec = LeaseSpec(driver="etcd", endpoints=tuple(words["endpoints"]))
        return EtcdLease(etcd_gateway(spec, answer_s), words["estate"], drift=0.01)
    transport = SshTransport()
    transport.declare((Endpoint(**words["witness"]),))
    return WitnessLease(transport, words["witness"]["name"], words["estate"], drift=0.01,
                        answer_s=answer_s, folder=words["folder"])


def leased(ttl_s: float) -> Desired:
    """Return specs that declare a lease."""
    from dataclasses import replace

    desired = load_folder(SPECS)
    failover = desired.estate.spec.failover.model_copy(
        update={"lease": LeaseSpec.model_validate({"ttl": f"{ttl_s:g}s"})})
    spec = desired.estate.spec.model_copy(update={"failover": failover})
    return replace(desired, estate=desired.estate.model_copy(update={"spec": spec}))


async def main(words: dict[str, Any]) -> None:
    """Contend until killed."""
    ttl_s = float(words["ttl_s"])
    candidate = Candidate(holder_name(), boottime,
                          lambda desired: client(words, ttl_s / QUESTIONS),
                          standby=bool(words["standby"]))

    def tell() -> None:
        """Print a new term, or that it looks on."""
        conducts = candidate.mode is Mode.CONDUCTING
        print(json.dumps({"conducts": conducts, "term": candidate.term()}), flush=True)
    candidate.on_change = tell
    candidate.declare(leased(ttl_s))
    await candidate.keep()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))

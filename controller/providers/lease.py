"""Which driver keeps the lease that an estate declares, and at which place."""

from functools import partial
from typing import Final

from controller.errors import SpecError
from controller.model.desired import Desired
from controller.model.failover.spec import LeaseSpec
from controller.providers.etcd.gateway import Gateway
from controller.providers.etcd.lease import EtcdLease
from controller.providers.linux.lease import Asks, WitnessLease
from controller.store.lease import Lease
from controller.transport.http import HttpClient
from controller.transport.password import read_password
from controller.transport.tls import Trust

QUESTIONS: Final = 3
"""So many whole time limits of a question fit into the time to live."""


def lease_of(desired: Desired, transport: Asks) -> Lease | None:
    """Return the lease by which a controller conducts; None where none is declared.

    Errors: SpecError for one at a witness where there is no witness.
    """
    failover = desired.estate.spec.failover
    lease, estate = failover.lease, desired.estate.name
    if lease is None:
        return None
    answer_s = lease.ttl_s / QUESTIONS
    if lease.driver == "etcd":
        return EtcdLease(etcd_gateway(lease, answer_s), estate, drift=failover.guard.drift)
    witness = lease.witness or min(desired.witnesses, default=None)
    if witness is None:
        raise SpecError(("the lease lies at a witness, and none is declared",))
    return WitnessLease(transport, witness, estate, drift=failover.guard.drift, answer_s=answer_s)


def etcd_gateway(lease: LeaseSpec, answer_s: float) -> Gateway:
    """Return the cluster that a lease declares; all its members fit into one time limit."""
    trust = Trust(ca_file=lease.ca_file, certificate_file=lease.certificate_file,
                  key_file=lease.key_file)
    member_s = answer_s / max(1, len(lease.endpoints))
    return Gateway({one: HttpClient(f"etcd at {one}", one, trust, answer_s=member_s)
                    for one in lease.endpoints},
                   None if lease.credentials is None else
                   partial(read_password, lease.credentials, "etcd"))

"""Places that keep a lease, as tests need them: with new clients, deaths and restarts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from controller.model.failover.spec import LeaseSpec
from controller.providers.etcd.lease import EtcdLease
from controller.providers.lease import etcd_gateway
from controller.providers.linux.lease import WitnessLease
from controller.store.lease import Lease
from controller.transport.base import Transport
from controller.transport.ssh import SshTransport
from tests.lease.etcd import Cluster
from tests.transport.local import LocalTransport
from tests.transport.sshd import Sshd

DRIFT = 0.01
ANSWER_S = 5.0


@dataclass
class Place:
    """One place, and what its clients opened."""

    name: str
    ttl_s: float
    """The shortest that it keeps exactly enough."""
    client: Callable[[str], tuple[Lease, Transport | None]]
    transports: list[Transport] = field(default_factory=list)
    leases: list[Lease] = field(default_factory=list)

    def make(self, estate: str) -> Lease:
        """Return a client of its own for one estate."""
        lease, transport = self.client(estate)
        self.leases.append(lease)
        if transport is not None:
            self.transports.append(transport)
        return lease

    async def close(self) -> None:
        """Close what its clients had opened."""
        for lease in self.leases:
            await lease.close()
        for transport in self.transports:
            await transport.close()


def local_witness(folder: Path) -> Place:
    """Return a witness whose program runs here, one process per client."""
    def client(estate: str) -> tuple[Lease, Transport]:
        """Return a client."""
        transport = LocalTransport()
        transport.declare((Sshd(folder).endpoint("aws"),))
        return at_witness(transport, folder, estate), transport
    return Place("witness", 0.3, client)


def witness_over_ssh(folder: Path, sshd: Sshd) -> Place:
    """Return a witness behind a real sshd, one connection per client."""
    def client(estate: str) -> tuple[Lease, Transport]:
        """Return a client."""
        transport = SshTransport()
        transport.declare((sshd.endpoint("aws"),))
        return at_witness(transport, folder, estate), transport
    return Place("witness over ssh", 0.5, client)


def in_etcd(cluster: Cluster) -> Place:
    """Return a cluster of etcd."""
    spec = LeaseSpec(driver="etcd", endpoints=cluster.endpoints)
    return Place("etcd", 2.0, lambda estate: (
        EtcdLease(etcd_gateway(spec, ANSWER_S), estate, drift=DRIFT), None))


def at_witness(transport: Transport, folder: Path, estate: str) -> Lease:
    """Return the lease of one estate in a folder."""
    return WitnessLease(transport, "aws", estate, drift=DRIFT, answer_s=ANSWER_S,
                        folder=str(folder))

"""Fixtures of the lease's tests: each place that can be had on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.providers.etcd.gateway import encoded
from tests.lease import etcd
from tests.lease.etcd import Cluster
from tests.lease.places import Place, in_etcd, local_witness, witness_over_ssh
from tests.transport import sshd as ssh
from tests.transport.sshd import Sshd

PLACES = ("witness", "witness over ssh", "etcd")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a cluster for all tests that leave it as it is."""
    if etcd.PROGRAM is None:
        pytest.skip("etcd-server is not installed: install it to test the lease in etcd")
    cluster = Cluster(tmp_path_factory.mktemp("etcd"))
    cluster.start()
    cluster.wait()
    yield cluster
    cluster.stop()


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """One place after another."""
    if request.param == "witness":
        yield local_witness(tmp_path)
        return
    if request.param == "etcd":
        cluster: Cluster = request.getfixturevalue("cluster")
        cluster.ask("/v3/kv/deleterange", {"key": encoded("/hotsite/"),
                                           "range_end": encoded("/hotsite0")})
        yield in_etcd(cluster)
        return
    if ssh.PROGRAM is None:
        pytest.skip("openssh-server is not installed: install it to test a witness over SSH")
    sshd = Sshd(tmp_path / "sshd")
    sshd.prepare()
    sshd.start()
    yield witness_over_ssh(tmp_path / "leases", sshd)
    sshd.stop()

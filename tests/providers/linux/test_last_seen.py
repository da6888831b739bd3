"""The last known facts of single domains, pools and replicas stay while they cannot be seen."""

from dataclasses import replace

from controller.model.facts import DomainState, PoolFacts, VolumeFacts
from controller.model.replica import ReplicaFacts
from controller.providers.libvirt.facts import unknown_domain
from controller.providers.linux.last_seen import (
    with_last_domains,
    with_last_pools,
    with_last_replicas,
)
from tests.plan import builders as b

LAB = b.small(b.vm("sql"))
SQL = b.domain("sql", "paris-1", LAB)
ROW = {"name": "sql", "uuid": SQL.uuid, "persistent": True}
POOL = PoolFacts("default", "/pool", True, 100, 50, {"a.raw": VolumeFacts("a.raw", "raw", 1, 1)})
DIM = PoolFacts("default", "/pool", True, 0, 0, unknown="why", replicas_unknown="why")
REPLICA = ReplicaFacts("u", "sql", "/pool/hotsite-replicas/u")


def test_a_domain_is_kept_as_it_was_and_says_why_it_is_unknown() -> None:
    odd = unknown_domain(ROW, "why", active=True)
    assert with_last_domains({"sql": odd}, {"sql": SQL}, {}) == {"sql": replace(SQL, unknown="why")}


def test_one_that_was_never_read_is_what_libvirt_lists() -> None:
    odd = unknown_domain(ROW, "why", active=False)
    assert with_last_domains({"sql": odd}, {}, {}) == {"sql": odd}
    other = replace(SQL, uuid="another")
    assert with_last_domains({"sql": odd}, {"sql": other}, {}) == {"sql": odd}


def test_whether_it_is_on_is_seen_all_the_same() -> None:
    unknown = unknown_domain(ROW, "why", active=False)
    off = with_last_domains({"sql": unknown}, {"sql": SQL}, {})["sql"]
    assert (off.state, off.live, off.config) == (DomainState.SHUT_OFF, None, SQL.config)
    unknown = unknown_domain(ROW, "why", active=True)
    on = with_last_domains({"sql": unknown}, {"sql": off}, {})["sql"]
    assert (on.state, on.live) == (DomainState.RUNNING, SQL.config)


def test_a_pool_keeps_the_files_that_it_had() -> None:
    kept = with_last_pools({"default": DIM}, {"default": POOL}, {})["default"]
    assert kept == replace(POOL, unknown="why", replicas_unknown="why")
    assert with_last_pools({"default": POOL}, {"default": kept}, {}) == {"default": POOL}


def test_a_replica_in_a_pool_that_cannot_be_seen_is_no_replica_that_went() -> None:
    kept = with_last_replicas({}, {"u": REPLICA}, {"default": DIM})
    assert kept == {"u": replace(REPLICA, unreadable="pool default: why")}
    assert with_last_replicas({}, kept, {"default": POOL}) == {}
    elsewhere = replace(REPLICA, path="/pool2/hotsite-replicas/u")
    assert with_last_replicas({}, {"u": elsewhere}, {"default": DIM}) == {}

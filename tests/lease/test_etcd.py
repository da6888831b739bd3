"""The lease in a cluster of etcd whose members die, freeze and forget their past."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.failover.spec import LeaseSpec
from controller.model.host import CredentialsSpec
from controller.providers.etcd.gateway import encoded
from controller.providers.etcd.lease import EtcdLease
from controller.providers.lease import etcd_gateway
from controller.store.lease import Lease
from tests.lease.certificates import make_certificates
from tests.lease.contenders import Weather, contend
from tests.lease.etcd import PROGRAM, Cluster

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="etcd-server is not installed")
LIMIT_S = 120.0
HOLDER, TERM = "/hotsite/talk/lease/holder", "/hotsite/talk/lease/term"


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Cluster]:
    """Return a cluster that a test may break."""
    cluster = Cluster(tmp_path)
    cluster.start()
    cluster.wait()
    yield cluster
    cluster.stop()


def lease_in(cluster: Cluster, answer_s: float = 6.0, **more: object) -> EtcdLease:
    """Return one controller's client."""
    spec = LeaseSpec.model_validate({"driver": "etcd", "endpoints": list(cluster.endpoints),
                                     **more})
    return EtcdLease(etcd_gateway(spec, answer_s), "talk", drift=0.01)


def tell(story: Callable[[Lease, Lease], Awaitable[None]], cluster: Cluster,
         answer_s: float = 6.0) -> None:
    """Tell a story of two controllers."""
    async def whole() -> None:
        paris, milan = lease_in(cluster, answer_s), lease_in(cluster, answer_s)
        try:
            await story(paris, milan)
        finally:
            await paris.close()
            await milan.close()
    asyncio.run(whole())


async def at_last(ask: Callable[[], Awaitable[object]]) -> object:
    """Return the first answer: an election may be on."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return await ask()
            except (Unavailable, OutcomeUnknown):
                await asyncio.sleep(0.1)


def test_one_member_may_be_dead_whichever_it_is(mortal: Cluster) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        assert (await paris.take("paris", 60)).term == 1
        for member in range(3):
            mortal.kill(member)
            said = await at_last(lambda: paris.renew("paris", 1, 60))
            assert getattr(said, "granted", False)
            denied = await at_last(lambda: milan.take("milan", 60))
            assert not getattr(denied, "granted", True)
            mortal.start(member)
            await asyncio.to_thread(mortal.wait)
    tell(story, mortal)


def test_without_a_majority_nobody_gets_or_keeps_it(mortal: Cluster) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        assert (await paris.take("paris", 60)).granted
        mortal.kill(0)
        mortal.kill(1)
        for ask in (paris.renew("paris", 1, 60), milan.take("milan", 60), milan.read(),
                    paris.release("paris", 1)):
            with pytest.raises((Unavailable, OutcomeUnknown), match="no member of etcd answers"):
                await ask
    tell(story, mortal)


def test_a_frozen_leader_gives_nothing_and_its_thaw_takes_nothing_away(mortal: Cluster) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        assert (await paris.take("paris", 3)).granted
        for member in list(mortal.processes):
            mortal.signal(member, signal.SIGSTOP)
            try:
                said = await at_last(lambda: paris.take("paris", 3))
            finally:
                mortal.signal(member, signal.SIGCONT)
            assert getattr(said, "granted", False)
            assert getattr(await at_last(milan.read), "holder", "") == "paris"
    tell(story, mortal)


def test_the_term_outlives_a_restart_of_all_members_and_compaction(mortal: Cluster) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        for number in range(1, 4):
            assert (await paris.take(f"paris/{number}", 60)).term == number
            await paris.release(f"paris/{number}", number)
        revision = mortal.ask("/v3/kv/range", {"key": encoded(TERM)})["header"]
        assert isinstance(revision, dict)
        mortal.ask("/v3/kv/compaction", {"revision": revision["revision"], "physical": True})
        assert (await paris.read()).term == 3
        mortal.stop()
        mortal.start()
        await asyncio.to_thread(mortal.wait)
        said = await at_last(lambda: milan.take("milan", 60))
        assert getattr(said, "term", 0) == 4
    tell(story, mortal)


def test_a_lease_lasts_its_whole_time_though_the_leader_died(mortal: Cluster) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        assert (await paris.take("paris", 4)).granted
        leader = next(n for n in range(3) if mortal.leads(n) is not None)
        mortal.kill(leader)
        loop = asyncio.get_running_loop()
        asked = loop.time()
        said = await at_last(lambda: paris.renew("paris", 1, 4))
        while getattr(said, "granted", False) and not getattr(
                await at_last(lambda: milan.take("milan", 4)), "granted", True):
            await asyncio.sleep(0.05)
        assert loop.time() > asked + 4
    tell(story, mortal)


def test_contenders_over_members_that_freeze_never_act_at_once(mortal: Cluster) -> None:
    async def freezes() -> None:
        while True:
            for member in range(3):
                mortal.signal(member, signal.SIGSTOP)
                await asyncio.sleep(0.7)
                mortal.signal(member, signal.SIGCONT)
                await asyncio.sleep(0.7)

    async def whole() -> None:
        freezing = asyncio.create_task(freezes())
        async with asyncio.timeout(LIMIT_S):
            contest = await contend(lambda: lease_in(mortal, 3.0), ("milan", "paris", "third"),
                                    2.0, 2, Weather(0.1, dies=0.1, asleep=0.05), seed=3)
        freezing.cancel()
        await asyncio.wait({freezing})
        assert contest.double_acts() == []
        assert contest.shared_terms() == set()
        assert contest.falling_terms() == []
    asyncio.run(whole())


@pytest.mark.parametrize("text", ["", "{", "null", "[]", '{"holder": "x", "term": 0}',
                                  '{"holder": "x", "term": "7", "released": false}', '{"term": 3}'])
def test_a_record_that_is_no_lease_is_refused_and_left(cluster: Cluster, text: str) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        for ask in (paris.take("paris", 60), paris.read()):
            with pytest.raises(Refused, match="is no lease"):
                await ask
    for key in (HOLDER, TERM):
        cluster.ask("/v3/kv/put", {"key": encoded(key), "value": encoded(text)})
    try:
        tell(story, cluster)
        kept = cluster.ask("/v3/kv/range", {"key": encoded(TERM)})["kvs"]
        assert isinstance(kept, list)
        assert kept[0].get("value", "") == encoded(text)
    finally:
        cluster.ask("/v3/kv/deleterange", {"key": encoded(HOLDER),
                                           "range_end": encoded(f"{TERM}0")})


def test_a_cluster_that_wants_a_password_is_given_it_and_a_wrong_one_is_told(
        mortal: Cluster, tmp_path: Path) -> None:
    for path, question in (("user/add", {"name": "root", "password": "sesame"}),
                           ("role/add", {"name": "root"}),
                           ("user/grant", {"user": "root", "role": "root"}),
                           ("enable", {})):
        mortal.ask(f"/v3/auth/{path}", question)
    file = tmp_path / "password"

    async def take(password: str) -> bool:
        file.write_text(json.dumps({"username": "root", "password": password}))
        file.chmod(0o600)
        lease = lease_in(mortal, credentials=CredentialsSpec(file=str(file)).model_dump())
        try:
            return (await lease.take("paris", 60)).granted
        finally:
            await lease.close()

    async def without() -> None:
        lease = lease_in(mortal)
        try:
            await lease.take("paris", 60)
        finally:
            await lease.close()
    assert asyncio.run(take("sesame"))
    for attempt in (take("wrong"), without()):
        with pytest.raises(Refused, match="look at its credentials"):
            asyncio.run(attempt)


def test_with_certificates_members_and_controllers_know_each_other(tmp_path: Path) -> None:
    folder = make_certificates(tmp_path / "certificates")
    cluster = Cluster(tmp_path, certificates=folder)
    ca = {"caFile": str(folder / "ca.crt")}
    own = {"certificateFile": str(folder / "client.crt"), "keyFile": str(folder / "client.key")}

    async def take(**more: str) -> bool:
        lease = lease_in(cluster, **more)
        try:
            return (await lease.take("paris", 60)).granted
        finally:
            await lease.close()
    cluster.start()
    try:
        cluster.wait()
        assert asyncio.run(take(**ca, **own))
        with pytest.raises((Unavailable, OutcomeUnknown), match="no member of etcd answers"):
            asyncio.run(take(**ca))     # it shows nothing
        with pytest.raises(Unavailable, match="is not believed"):
            asyncio.run(take(**own))    # it knows no authority that signed them
        with pytest.raises(Unavailable, match="cannot be used"):
            asyncio.run(take(**ca, certificateFile="/no/such", keyFile="/no/such"))
    finally:
        cluster.stop()


def test_members_that_answer_nonsense_give_no_lease() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n"
                     b"<html>no</html>"[:-1])
        writer.close()

    async def whole() -> None:
        server = await asyncio.start_server(nonsense, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        spec = LeaseSpec(driver="etcd", endpoints=(f"http://127.0.0.1:{port}",))
        lease = EtcdLease(etcd_gateway(spec, 5.0), "talk", drift=0.01)
        with pytest.raises(ActionError, match="no member of etcd answers"):
            await lease.take("paris", 60)
        await lease.close()
        server.close()
    asyncio.run(whole())

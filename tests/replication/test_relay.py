"""A copy whose hosts refuse each other goes through the controller, and says why."""

import asyncio
from typing import Any

import pytest

from controller.errors import Unavailable
from tests.replication.movers import MIB, Broken, Hosts, action, hands, made
from tests.replication.test_cycle import broken, make


def unreached(sentence: str) -> Any:
    """Return a verb whose way to the other host does not lead there."""
    def fail(request: Any) -> Any:
        raise Broken(2, sentence, "unreached")
    return fail


def test_hosts_that_cannot_meet_are_relayed_and_it_is_said() -> None:
    hosts = Hosts(send=unreached("ssh: connect to host 10.78.0.21 port 22: No route to host"))
    assert "through the controller because paris-1 cannot reach milan-1" in make(hosts)
    assert hosts.request("relayed")["to"] == {"fds": [1]}


@pytest.mark.parametrize("told", [
    "root@10.78.0.21: Permission denied (publickey).", "Host key verification failed.",
    "kex_exchange_identification: Connection closed by remote host",
    "This account is currently not available.", "ssh cannot be run: No such file or directory"])
def test_whatever_does_not_let_the_source_in_the_copy_goes_through_here(told: str) -> None:
    hosts = Hosts(send=unreached(told))
    assert (f"through the controller because paris-1 cannot reach milan-1 at 10.78.0.21 ({told})"
            in make(hosts))
    assert hosts.request("relayed")["to"] == {"fds": [1]}


@pytest.mark.parametrize("busy", [True, False])
def test_a_key_that_cannot_be_put_down_is_not_needed_through_here(busy: bool) -> None:
    hosts = Hosts(replica_make=lambda _: made(1, busy=busy),
                  authorize=broken(1, "sshd reads no file of keys on this host"))
    assert "through the controller because paris-1 cannot reach milan-1" in make(hosts)
    assert "send" not in hosts.verbs()


def test_a_way_that_breaks_later_is_tried_again_and_not_gone_around() -> None:
    hosts = Hosts(send=broken(2, "the receiving end went away: Broken pipe"))
    with pytest.raises(Unavailable, match="went away"):
        make(hosts)
    assert "relayed" not in hosts.verbs()


def test_a_copy_through_the_controller_tells_how_far_it_is() -> None:
    hosts, told = Hosts(send=unreached("ssh: connect to host milan-1: timed out")), []
    relaying = hands(hosts)
    relaying.on_progress = told.append
    asyncio.run(relaying.apply(action()))
    assert [(one.done_bytes, one.total_bytes) for one in told] == [(MIB, 2 * MIB)]

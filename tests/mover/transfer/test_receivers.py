"""The number of streams follows from the path and from the amount to send."""

import socket

import pytest
from mover.transfer import receivers

GIB = 1 << 30


@pytest.mark.parametrize(("round_trip_s", "total_bytes", "rate_bps", "count"), [
    (0.0002, GIB, 0, 1),            # a cable's length
    (0.020, GIB, 0, 2),
    (0.050, GIB, 0, 4),
    (0.200, 100 * GIB, 0, 6),
    (0.050, 100 << 20, 0, 1),       # not worth a second login
    (0.050, GIB, 100e6, 1),         # 12.5 MB/s fit into one
    (0.0, GIB, 0, 1),               # unknown
])
def test_a_long_path_gets_more(round_trip_s: float, total_bytes: int, rate_bps: float,
                               count: int) -> None:
    assert receivers.count_for(round_trip_s, total_bytes, rate_bps) == count


def test_a_way_that_has_a_count_is_let_be() -> None:
    assert receivers.stream_count({"argv": ["ssh"], "count": 2}, GIB, 0) == 2


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a login that is not under way."""
    monkeypatch.setattr(receivers, "CONNECTED_S", 0.0)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_the_round_trip_is_that_of_what_is_connected(address: str) -> None:
    family = socket.AF_INET6 if address == "::1" else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        assert receivers.round_trip_s(address, port) == 0.0
        with socket.create_connection((address, port)) as near, server.accept()[0] as far:
            near.sendall(b"x")
            assert far.recv(1) == b"x"
            assert 0 < receivers.round_trip_s(address, port) < 1


def test_nobody_connects_for_the_sake_of_measuring() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        to = {"argv": ["ssh"], "address": ["127.0.0.1", server.getsockname()[1], "127.0.0.1"]}
        assert receivers.stream_count(to, 1 << 20, 0) == 1
        assert receivers.stream_count(to, GIB, 0) == 1
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("address", ["127.0.0.1", "no-such-host.invalid"])
def test_a_path_that_leads_nowhere_gets_one_stream(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert receivers.round_trip_s(address, port) == 0.0

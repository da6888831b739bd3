"""The page over real sockets: readers that never read, floods, half requests, TLS."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from controller.errors import SpecError
from controller.store.store import Store
from controller.web import stream
from controller.web.access.people import Rules
from controller.web.access.tokens import Tokens
from controller.web.app import make_app
from controller.web.server import serve
from tests.plan import builders as b
from tests.web.estates import opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


@asynccontextmanager
async def served(store: Store) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    """Serve on a free port of loopback until the block ends."""
    app = make_app(store, lambda: b.NOW_S)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", http="h11", ws="none",
                                           timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        async with asyncio.timeout(20):
            while not server.started:
                await asyncio.sleep(0.01)
        server.app = app
        try:
            yield listener.getsockname()[1], server
        finally:
            server.should_exit = True
            await serving


def test_a_reader_that_never_reads_costs_one_place_and_holds_up_nobody(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "BLOCKED_S", 0.3)
    monkeypatch.setattr(stream, "BEAT_S", 0.01)

    async def whole() -> None:
        async with served(store) as (port, server), asyncio.timeout(30):
            web = server.app.state.web
            with socket.socket() as deaf:
                deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
                deaf.connect(("127.0.0.1", port))
                deaf.sendall(b"GET /api/v1/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
                while web.streams == 0:
                    await asyncio.sleep(0.01)
                async with httpx.AsyncClient() as client:
                    found = await client.get(f"http://127.0.0.1:{port}/api/v1/estate")
                    assert found.status_code == 200
            while web.streams:      # it went, or was left
                await asyncio.sleep(0.01)
    asyncio.run(whole())


@pytest.mark.parametrize("text", [
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"POST /act HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 999999999999\r\n\r\n",
    b"POST /act HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /sign-in HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 3\r\n\r\nabc",
    b"GET /act?verb=%ff%00&step=%1b[31m HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"])
def test_what_is_no_request_of_ours_is_refused_and_the_page_lives_on(store: Store,
                                                                     text: bytes) -> None:
    async def whole() -> None:
        async with served(store) as (port, _), asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(text)
            status = (await reader.readline()).split()[1:2]
            assert status
            assert status[0][:1] == b"4", status
            writer.close()
            async with httpx.AsyncClient() as client:
                assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
    asyncio.run(whole())


def test_a_certificate_that_is_none_is_said(store: Store, tmp_path: Path) -> None:
    nothing = tmp_path / "desk.pem"
    nothing.write_text("none")
    for files in ((nothing, nothing), (tmp_path / "absent", nothing)):
        with pytest.raises(SpecError, match="--tls-cert and --tls-key cannot be used"):
            asyncio.run(serve(store, "127.0.0.1", 0, Rules(Tokens(tmp_path / "t")), files))

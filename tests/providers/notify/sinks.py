"""Servers on this machine that people's messages arrive at, with whatever manners."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Request:
    """One that arrived."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """Its JSON."""
        return json.loads(self.body)


@dataclass
class Sink:
    """An HTTP server that keeps what it is sent."""

    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], bytes] = lambda _: OK
    slowly: bool = False
    """Whether it says one more letter now and then, for ever."""
    port: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {key.lower(): value.strip() for key, _, value in (
            line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = Request(head[0], headers, body)
        self.requests.append(request)
        writer.write(self.answer(request))
        while self.slowly and not writer.is_closing():
            writer.write(b"x")
            await asyncio.gather(writer.drain(), asyncio.sleep(0.05), return_exceptions=True)
        writer.close()


@asynccontextmanager
async def served(serve: Serve, port: int = 0) -> AsyncIterator[int]:
    """Serve connections on loopback, and let none outlive the block; the value is the port."""
    writers: list[asyncio.StreamWriter] = []

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(kept, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers),
                             return_exceptions=True)


@asynccontextmanager
async def http_sink(port: int = 0) -> AsyncIterator[Sink]:
    """Serve on loopback."""
    sink = Sink()
    async with served(sink.serve, port) as sink.port:
        yield sink

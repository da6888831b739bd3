"""HTTP to one server: nothing goes to another, and no answer is waited for, or read, for ever."""

import asyncio
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.transport.base import NoConnection
from controller.transport.http import BODY_BYTES, Answer, HttpClient
from controller.transport.tls import Trust

PLACES = {"/moved": "/here", "/round": "/round", "/away": "http://192.0.2.1/here",
          "/down": "//192.0.2.1/here"}


class Odd(BaseHTTPRequestHandler):
    """Answers by the path."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer, in an odd way or not."""
        self.server.asked.append(self.path)
        if self.path in PLACES:
            return self.say(307, b"", Location=PLACES[self.path])
        if self.path == "/drip":
            return self.drip()
        if self.path == "/bomb":
            return self.say(200, gzipped(bytes(64 << 20)), Content_Encoding="gzip")
        if self.path == "/packed":
            return self.say(200, gzipped(b'{"a": 1}'), Content_Encoding="gzip")
        if self.path == "/broken":
            return self.say(200, b"no zip", Content_Encoding="gzip")
        return self.say(200, b" " * BODY_BYTES if self.path == "/full" else b'{"a": 1}')

    def do_POST(self) -> None:
        """Answer likewise."""
        self.do_GET()

    def say(self, status: int, body: bytes, **headers: str) -> None:
        """Send one answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def drip(self) -> None:
        """Send a body for ever, a byte now and then."""
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()
        while not self.server.stopping.wait(0.05):
            try:
                self.wfile.write(b" ")
            except OSError:
                return


class Server(ThreadingHTTPServer):
    """A server on loopback, without TLS."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Odd)
        self.asked: list[str] = []
        self.stopping = threading.Event()


def gzipped(body: bytes) -> bytes:
    """Pack a body."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test."""
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.stopping.set()
    made.shutdown()
    thread.join(10)
    made.server_close()


def asked(server: Server, path: str, method: str = "GET", answer_s: float = 5.0) -> Answer:
    """Ask once."""
    async def whole() -> Answer:
        client = HttpClient("the server", f"http://127.0.0.1:{server.server_port}/some/where",
                            Trust(), answer_s=answer_s)
        try:
            return await client.ask(method, path)
        finally:
            await client.close()

    return asyncio.run(whole())


@pytest.mark.parametrize("path", ["/here", "here", "https://192.0.2.1/here", "//192.0.2.1/here",
                                  "/moved", "/packed"])
def test_only_the_path_of_what_is_named_counts(path: str, server: Server) -> None:
    assert asked(server, path).content() == {"a": 1}
    assert server.asked[-1] in {"/here", "/packed"}


@pytest.mark.parametrize("path", ["/away", "/down"])
def test_another_server_is_told_nothing(path: str, server: Server) -> None:
    with pytest.raises(Refused, match=r"the server sends us to another server, '192.0.2.1'"):
        asked(server, path)


def test_a_circle_ends_and_a_change_is_not_sent_elsewhere(server: Server) -> None:
    assert asked(server, "/round").status == 307
    assert server.asked == ["/round"] * 3
    assert asked(server, "/moved", "POST").status == 307


@pytest.mark.parametrize(("path", "words"), [
    ("/bomb", "it said more than 1 MiB"), ("/broken", "Error -3"), ("/drip", "it took too long")])
def test_no_body_is_read_without_end(path: str, words: str, server: Server) -> None:
    with pytest.raises(Unavailable, match=words):
        asked(server, path, answer_s=0.5 if path == "/drip" else 5.0)
    with pytest.raises(OutcomeUnknown, match=words):
        asked(server, path, "POST", answer_s=0.5 if path == "/drip" else 5.0)


def test_a_body_of_just_the_most_is_read(server: Server) -> None:
    assert len(asked(server, "/full").body) == BODY_BYTES


def test_nobody_listens(server: Server) -> None:
    port = server.server_port
    server.stopping.set()

    async def whole() -> None:
        client = HttpClient("the server", f"http://127.0.0.2:{port}", Trust())
        with pytest.raises(NoConnection, match="the server cannot be reached"):
            await client.ask("POST", "/")
        await client.close()

    asyncio.run(whole())

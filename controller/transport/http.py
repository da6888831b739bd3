"""
HTTP to one server over TLS: one connection, one request at a time, every wait and body limited.

    connect ─► handshake, certificate checked (tls.py) ─► request ─► answer, read piece by piece

Small computers are at the other end: a BMC has one processor, few connections, and may answer with
anything. So an answer is an answer whatever its status, and what it means is the caller's business.
What is not an answer is one of the errors of the one tree:

    Refused          the certificate is not the one that is believed, or we are sent to another
                     server: nothing was told to anybody
    Unavailable      a question had no answer, or, as NoConnection, no connection came about: asking
                     again is safe
    OutcomeUnknown   a request that changes something was sent and had no answer

Only the path and query of an address are ever used: whatever a server names in its answers, no
request of ours, with its password or token, goes to another one. Proxies and other settings of the
environment are not looked at.

httpx and its parts log each request, and when asked for more, headers: they may only warn here.
"""

import asyncio
import json
import logging
import ssl
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.transport.base import NoConnection
from controller.transport.json_text import parse_json
from controller.transport.tls import Trust, tls_context

CONNECT_S: Final = 3.0
ANSWER_S: Final = 8.0
"""From the first packet to the last byte of an answer."""
BODY_BYTES: Final = 1 << 20
REDIRECTS: Final = 3
MOVED: Final = frozenset({301, 302, 303, 307, 308})
NOT_ACCEPTABLE: Final = 406
GZIP_WINDOW: Final = 31
"""zlib's word for: with gzip's header."""

for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Answer(NamedTuple):
    """What a server answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def content(self) -> Any:
        """Return the body as JSON.

        Errors: ValueError.
        """
        return parse_json(self.body.decode())


class HttpClient:
    """Talks to one server; `name` is what messages call it."""

    def __init__(self, name: str, url: str, trust: Trust, *, answer_s: float = ANSWER_S) -> None:
        self._name = name
        parts = urlsplit(url)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._trust = trust
        self._answer_s = answer_s
        self._encoding = "identity"
        self._client: httpx.AsyncClient | None = None

    async def ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None,
                  content: Any = None, only_status: bool = False) -> Answer:
        """Send one request and return the answer, whatever its status.

        Shapes: `content` is sent as JSON; of a whole address in `path` only path and query count;
        with `only_status` the body of a success is not read: however long it takes, it was one.
        Errors: Refused, Unavailable or OutcomeUnknown.
        """
        for _ in range(REDIRECTS):
            answer = await self._once(method, path, headers, content, only_status=only_status)
            if answer.status == NOT_ACCEPTABLE and self._encoding == "identity":
                self._encoding = "gzip"     # some refuse to answer in plain
                continue
            if method != "GET" or answer.status not in MOVED:
                return answer
            here = f"{self._base}{_local(path)}"
            there = urljoin(here, answer.headers.get("location", ""))
            if urlsplit(there)[:2] != urlsplit(here)[:2]:
                raise Refused(f"{self._name} sends us to another server,"
                              f" {urlsplit(there).netloc[:100]!r}, which is told nothing: if that"
                              " is the right one, declare it")
            path = there
        return answer

    async def close(self) -> None:
        """Close the connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _once(self, method: str, path: str, headers: Mapping[str, str] | None,
                    content: Any, *, only_status: bool) -> Answer:
        """Send one request over the one connection."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=tls_context(self._trust), trust_env=False, follow_redirects=False,
                timeout=httpx.Timeout(self._answer_s, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1))
        client = self._client
        body = None if content is None else json.dumps(content).encode()
        sent = {"Accept": "application/json", "Accept-Encoding": self._encoding, **(headers or {})}
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            async with asyncio.timeout(self._answer_s), client.stream(
                    method, f"{self._base}{_local(path)}", headers=sent, content=body) as response:
                return Answer(response.status_code,
                              {key.lower(): value for key, value in response.headers.items()},
                              b"" if only_status and response.is_success
                              else await self._body(response))
        except httpx.ConnectTimeout as error:
            raise NoConnection(f"{self._name} cannot be reached: no connection within"
                               f" {CONNECT_S:g} s") from error
        except httpx.ConnectError as error:
            raise self._not_connected(error) from error
        except (httpx.HTTPError, ssl.SSLError, OSError, TimeoutError, zlib.error) as error:
            raise self._silence(method, _words(error)) from error

    async def _body(self, response: httpx.Response) -> bytes:
        """Read a body that is not too long, packed or not."""
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > BODY_BYTES:
                raise httpx.DecodingError(f"it said more than {BODY_BYTES >> 20} MiB")
        if response.headers.get("content-encoding", "").lower() != "gzip":
            return bytes(body)
        unpacker = zlib.decompressobj(GZIP_WINDOW)
        unpacked = unpacker.decompress(bytes(body), BODY_BYTES)
        if unpacker.unconsumed_tail:
            raise httpx.DecodingError(f"it said more than {BODY_BYTES >> 20} MiB")
        return unpacked

    def _not_connected(self, error: Exception) -> ActionError:
        """Return the error of a connection that did not come about."""
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return Refused(f"{self._name} is not believed: {_certificate_words(cause)}")
            cause = cause.__cause__ or cause.__context__
        return NoConnection(f"{self._name} cannot be reached: {_words(error)}")

    def _silence(self, method: str, why: str) -> ActionError:
        """Return the error of a request that was sent and had no whole answer."""
        if method == "GET":
            return Unavailable(f"{self._name} does not answer: {why}")
        return OutcomeUnknown(f"{self._name} was asked and did not answer: {why}")


def _local(path: str) -> str:
    """Return the path and query of an address, whatever server it names."""
    parts = urlsplit(path)
    return f"/{parts.path.lstrip('/')}" + (f"?{parts.query}" if parts.query else "")


def _words(error: BaseException) -> str:
    """Return what went wrong, in a few words on one line."""
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return "it took too long"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _certificate_words(error: ssl.SSLCertVerificationError) -> str:
    """Return why a certificate is not believed."""
    return getattr(error, "verify_message", "") or str(error.args[-1])

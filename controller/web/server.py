"""Serves the page until it is stopped: on loopback, or with TLS and persons beyond it."""

import os
import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

import uvicorn

from controller.errors import Refused, SpecError
from controller.store.store import Store
from controller.web.access.people import LOOPBACK_NAMES, Rules
from controller.web.access.tokens import Tokens
from controller.web.app import make_app
from controller.web.hooks import Hooks

HEADER_BYTES: Final = 16 << 10
CONNECTIONS: Final = 400
NOT_OF_PROXIES: Final = frozenset({"authorization", "cookie", "host", "origin"})


def parse_listen(text: str) -> tuple[str, int]:
    """Return the address and port to listen on, as `127.0.0.1:8765` or `[::1]:8765`.

    Errors: SpecError: it is none.
    """
    host, colon, port = text.rpartition(":")
    host = {"localhost": "127.0.0.1"}.get(host, host.strip("[]"))
    try:
        ip_address(host)
    except ValueError:
        host = ""
    if not (host and colon and port.isascii() and port.isdigit() and 0 <= int(port) < 1 << 16):
        raise SpecError((f"--listen {text} is not understood: write an address and a port, such as"
                         " 127.0.0.1:8765",))
    return host, int(port)


def rules_of(host: str, tokens: Tokens, names: Sequence[str], *, tls: bool, proxy_header: str = "",
             proxies: Sequence[str] = ()) -> Rules:
    """Return who is believed on a page that listens there.

    Errors: SpecError: beyond loopback nothing would prove who asks, or what is said would be read
    on the way; a proxy's header without its addresses; the file of persons is not understood.
    """
    loopback = ip_address(host).is_loopback
    if not loopback and not (tls and (proxy_header or tokens.persons())):
        raise SpecError((
            f"--listen {host} is open to others: that takes --tls-cert and --tls-key, and persons:"
            " make one with `hotsite web-token NAME`, or name a proxy with --trust-header and"
            " --trust-from. Or listen on 127.0.0.1, and reach it through `ssh -L"
            " 8765:127.0.0.1:8765 CONTROLLER`",))
    if bool(proxy_header) != bool(proxies):
        raise SpecError(("--trust-header and --trust-from go together: who may say who asks, and"
                         " from where",))
    if proxy_header and (not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", proxy_header)
                         or proxy_header.lower() in NOT_OF_PROXIES):
        raise SpecError((f"--trust-header {proxy_header} is no header that a proxy can be believed"
                         " by: write X-Remote-User",))
    try:
        trusted = tuple(ip_network(one) for one in proxies)
    except ValueError as error:
        raise SpecError((f"--trust-from: {error}",)) from error
    if any(one.prefixlen == 0 for one in trusted):
        raise SpecError(("--trust-from names every address: name the proxy's",))
    tokens.persons()
    own = LOOPBACK_NAMES if loopback else {f"[{host}]" if ":" in host else host}
    return Rules(tokens, open_to_read=loopback and not proxy_header,
                 names=frozenset(own | {name.lower() for name in names}), tls=tls,
                 proxy_header=proxy_header, proxies=trusted)


async def serve(store: Store, host: str, port: int, rules: Rules,
                tls: tuple[Path, Path] | None = None, hooks: Hooks | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Errors: Refused: the address cannot be listened on; SpecError: certificate and key do not do.
    """
    config = uvicorn.Config(
        make_app(store, rules=rules, hooks=hooks), host=host, port=port, log_level="warning",
        access_log=False, server_header=False, proxy_headers=False, http="h11", ws="none",
        loop="asyncio", lifespan="on", limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES, timeout_keep_alive=30,
        timeout_graceful_shutdown=2, ssl_certfile=tls and tls[0], ssl_keyfile=tls and tls[1])
    try:
        config.load()
    except OSError as error:    # ssl.SSLError is one
        raise SpecError((f"--tls-cert and --tls-key cannot be used: {error.strerror}",)) from error
    with listening(host, port) as listener:
        await uvicorn.Server(config).serve([listener])


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens there.

    Errors: Refused.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Refused(f"{host} port {port} cannot be listened on: {os.strerror(error.errno or 0)};"
                      " end what"
                      " listens there, or name another port with --listen") from error

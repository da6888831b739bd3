"""Serves the page on loopback until it is stopped."""

import os
import socket
from ipaddress import ip_address
from typing import Final

import uvicorn

from controller.errors import Refused, SpecError
from controller.store.store import Store
from controller.web.app import make_app

HEADER_BYTES: Final = 16 << 10
CONNECTIONS: Final = 400


def parse_listen(text: str) -> tuple[str, int]:
    """Return the address and port to listen on, as `127.0.0.1:8765` or `[::1]:8765`.

    Errors: SpecError: it is none, or none of loopback.
    """
    host, colon, port = text.rpartition(":")
    host = {"localhost": "127.0.0.1"}.get(host, host.strip("[]"))
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not (colon and port.isascii() and port.isdigit() and 0 <= int(port) < 1 << 16
            and loopback):
        raise SpecError((f"--listen {text} is not understood: write an address of loopback and a"
                         " port, such as 127.0.0.1:8765. From elsewhere, reach it through ssh:"
                         " `ssh -L 8765:127.0.0.1:8765 CONTROLLER`",))
    return host, int(port)


async def serve(store: Store, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Errors: Refused: the address cannot be listened on.
    """
    config = uvicorn.Config(
        make_app(store), host=host, port=port, log_level="warning", access_log=False,
        server_header=False, http="h11", ws="none", loop="asyncio", lifespan="on",
        limit_concurrency=CONNECTIONS, h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=30, timeout_graceful_shutdown=2)
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

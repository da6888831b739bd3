"""Serves the page on loopback until it is stopped."""

from ipaddress import ip_address
from typing import Final

import uvicorn

from controller.errors import SpecError
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
    """Serve until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        make_app(store), host=host, port=port, log_level="warning", access_log=False,
        server_header=False, http="h11", ws="none", loop="asyncio", lifespan="on",
        limit_concurrency=CONNECTIONS, h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=30, timeout_graceful_shutdown=2)
    await uvicorn.Server(config).serve()

"""The address of `/metrics`: on this machine only, unless more is asked for explicitly."""

from ipaddress import ip_address
from typing import NamedTuple

from controller.errors import Refused


class Listener(NamedTuple):
    """An address of this machine and a TCP port."""

    address: str
    port: int


def parse_listener(text: str, *, anywhere: bool = False) -> Listener:
    """Return the listener that `127.0.0.1:9464` or `[::1]:9464` means.

    Errors: Refused for an invalid address, and for one that others can reach unless `anywhere`.
    """
    host, colon, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if not colon or address is None or not port.isascii() or not port.isdigit() \
            or int(port) > 65535:
        raise Refused(f"cannot listen on {text!r}: write it like 127.0.0.1:9464")
    if not address.is_loopback and not anywhere:
        raise Refused(f"will not listen on {text}: others could reach it without a password; "
                      "use 127.0.0.1, or say that anywhere is meant")
    return Listener(str(address), int(port))

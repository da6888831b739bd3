"""What the service manager is told: that we are ready, alive, or ending (sd_notify(3)).

Where no service manager listens, nothing is said, and nothing is different.
"""

import socket
from collections.abc import Mapping


class Service:
    """The service manager, if one started this process."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")

    def ready(self) -> None:
        """Say that the start is over."""
        self._say("READY=1")

    def decided(self) -> None:
        """Say that a decision has been taken: whoever is stuck does not come to it."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._say("STOPPING=1")

    def _say(self, words: str) -> None:
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto(words.encode(), address)
        except OSError:
            return  # who does not listen will do what was told to be done about silence

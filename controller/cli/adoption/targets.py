"""What a person typed after `import` or `doctor`: hosts, their sites, and where keys are."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.reconcile.importing import Target


def targets_of(words: list[str]) -> "list[Target]":
    """Return the hosts that are named.

    Errors: SpecError for a word that is no host, or one that is there twice.
    """
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick
    from controller.reconcile.importing import Target  # noqa: PLC0415

    found: dict[str, Target] = {}
    for word in words:
        match = re.fullmatch(r"(?:([^@\s]+)@)?(\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z.-]+|[0-9A-Fa-f:]+::?"
                             r"[0-9A-Fa-f:]*)(?::([0-9]{1,5}))?", word)
        if match is None or match[2].startswith("-"):
            raise SpecError((f"{word!r} is no host: write [USER@]HOST[:PORT]",))
        address = match[2].strip("[]")
        if address in found:
            raise SpecError((f"{address} is named twice: once is enough",))
        found[address] = Target(address, address, match[1], int(match[3]) if match[3] else None)
    return list(found.values())


def sites_of(words: list[str], targets: "list[Target]") -> dict[str, str]:
    """Return the site of each host that a person named one for.

    Errors: SpecError for a name that is none, or a host that is not imported.
    """
    from controller.adoption.names import fits  # noqa: PLC0415  # keeps --help quick
    from controller.errors import SpecError  # noqa: PLC0415

    every = [target.asked for target in targets]
    sites: dict[str, str] = {}
    for word in words:
        name, _, listed = word.partition("=")
        hosts = listed.split(",") if listed else every
        if not fits(name):
            raise SpecError((f"--site {name!r} is no name: write small letters, digits, dots and"
                             " dashes",))
        for host in hosts:
            if host not in every:
                raise SpecError((f"--site {word}: {host} is not among the hosts that are named",))
            sites[host] = name
    return sites


def default_key() -> Path:
    """Return the private key that is used unless another is named."""
    return Path("/etc/hotsite/id_ed25519") if os.geteuid() == 0 else Path("~/.ssh/id_ed25519")


def readable_key(given: Path | None) -> str:
    """Return the private key to log in with, before any host is asked or anything is written.

    Errors: SpecError where it is not there or cannot be read.
    """
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick

    path = (given or default_key()).expanduser().absolute()
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise SpecError((f"the key {path} cannot be read ({error.strerror}): name the private key"
                         " that the hosts know by --key FILE, or make one by `ssh-keygen -t ed25519"
                         f" -f {path}` and put it there by `ssh-copy-id`",)) from None
    return str(path)


def default_known_hosts() -> Path:
    """Return the file of host keys that is used unless another is named."""
    return Path("/etc/hotsite/known_hosts") if os.geteuid() == 0 else Path(
        "~/.config/hotsite/known_hosts")

"""A package of remote/ as one file that Python runs: the same sources give the same bytes."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from controller.providers.node import script_command
from controller.transport.base import Command

INSTALL: Final = """
set -e
umask 077
mkdir -p -m 0700 "${1%/*}"
part=$(mktemp "$1.XXXXXX.part")
trap 'rm -f -- "$part"' EXIT
base64 -d >"$part"
echo "$2  $part" | sha256sum -c --quiet
sync -- "$part"
mv -f -- "$part" "$1"
"""


@cache
def pack(package: str) -> bytes:
    """Return a package below remote/ as a zip archive whose door is its `__main__`."""
    packed = io.BytesIO()
    sources = dict(_sources(resources.files("controller") / "remote" / package, f"{package}/"))
    sources["__main__.py"] = sources[f"{package}/__main__.py"]
    with zipfile.ZipFile(packed, "w") as out:
        for name, source in sorted(sources.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o600 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(entry, source)
    return packed.getvalue()


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield the modules below a folder, each under its name in the archive."""
    for entry in folder.iterdir():
        if entry.name.endswith(".py"):
            yield prefix + entry.name, entry.read_bytes()
        elif entry.is_dir() and entry.name != "__pycache__":
            yield from _sources(entry, f"{prefix}{entry.name}/")


@cache
def digest(package: str) -> str:
    """Return the SHA-256 of a package's archive."""
    return hashlib.sha256(pack(package)).hexdigest()


def install_command(package: str, path: str) -> Command:
    """Return the command that puts a package on a node at that path, whole or not at all."""
    return script_command(INSTALL, path, digest(package),
                          text=base64.encodebytes(pack(package)).decode(), timeout_s=60.0)

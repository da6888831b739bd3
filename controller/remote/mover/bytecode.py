"""
Start fast: keep the bytecode of the archive's modules in a file beside the archive.

Python compiles a zip of sources anew in every run, which takes longer than most verbs. The file
counts only in a folder that nobody else can write to, with the right checksum, and for an archive
of the same size and time; else it is written anew, or without it the sources are run.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
import zlib
from typing import Any, Dict, Optional, Tuple

SUM_BYTES = 4
Version = Tuple[int, int]   # the archive's size, and its mtime in ns


class Compiled:
    """Finder and loader of the archive's modules, from their bytecode by module name."""

    def __init__(self, codes: Dict[str, bytes], archive: str) -> None:
        self._codes, self._archive = codes, archive

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of a module of the archive."""
        if name not in self._codes:
            return None
        kind: Any = type(sys.__spec__)      # ModuleSpec, without loading importlib's own modules
        return kind(name, self, origin=self._archive, is_package=any(
            module.startswith(name + ".") for module in self._codes))

    def create_module(self, spec: Any) -> None:
        """Leave it to Python to create the module."""

    def exec_module(self, module: Any) -> None:
        """Run the module's code."""
        exec(marshal.loads(self._codes[module.__name__]), module.__dict__)  # noqa: S102, S302


def start_from(archive: str) -> None:
    """Import the archive's modules from bytecode; where that is not possible, as sources."""
    archive = os.path.abspath(archive)
    if archive.endswith(".py") or not os.path.isfile(archive):
        return                      # a folder of sources: Python caches its bytecode by itself
    if _is_private(os.path.dirname(archive)):
        cache = "%s.%s" % (archive, sys.implementation.cache_tag)
        found = os.stat(archive)
        version = found.st_size, found.st_mtime_ns
        codes = _read(cache, version) or _compile(archive, cache, version)
        sys.meta_path.insert(0, Compiled(codes, archive))


def _is_private(folder: str) -> bool:
    found = os.stat(folder)
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _read(cache: str, version: Version) -> Optional[Dict[str, bytes]]:
    try:
        with open(cache, "rb") as file:
            whole = file.read()
        if zlib.crc32(whole[SUM_BYTES:]) == int.from_bytes(whole[:SUM_BYTES], "big"):
            cached, codes = marshal.loads(whole[SUM_BYTES:])    # noqa: S302
            return codes if cached == version else None
    except (OSError, EOFError, ValueError, TypeError):
        pass
    return None


def _compile(archive: str, cache: str, version: Version) -> Dict[str, bytes]:
    import zipfile  # noqa: PLC0415  (only the first run on a host comes here)

    codes = {}
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            if name.startswith("mover/") and name.endswith(".py"):
                module = name[:-len(".py")].replace("/__init__", "").replace("/", ".")
                codes[module] = marshal.dumps(compile(
                    packed.read(name), os.path.join(archive, name), "exec", dont_inherit=True))
    whole = marshal.dumps((version, codes))
    part = "%s.%d.part" % (cache, os.getpid())
    with contextlib.suppress(OSError):
        fd = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(zlib.crc32(whole).to_bytes(SUM_BYTES, "big") + whole)
        os.rename(part, cache)
    return codes

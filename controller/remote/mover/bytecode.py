"""
Start fast: what this host's Python made of the archive's modules is kept beside the archive.

A zip of sources is compiled anew in every run, which takes longer than most verbs do. What is kept
is believed only in a folder that nobody else can write to, only while its checksum is right, and
only of the very archive that lies there.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
import zlib
from typing import Any, Dict, Optional, Tuple

SUM_BYTES = 4
Of = Tuple[int, int]        # the archive's size, and when it was written in ns


class Compiled:
    """Modules by name, loaded from what was compiled before; a finder and a loader in one."""

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
        """Let Python make the module."""

    def exec_module(self, module: Any) -> None:
        """Fill the module."""
        exec(marshal.loads(self._codes[module.__name__]), module.__dict__)  # noqa: S102, S302


def start_from(archive: str) -> None:
    """Let the archive's modules come compiled; without a word as sources where that cannot be."""
    archive = os.path.abspath(archive)
    if archive.endswith(".py") or not os.path.isfile(archive):
        return                      # a folder of sources: Python keeps what it compiles by itself
    if _is_private(os.path.dirname(archive)):
        kept = "%s.%s" % (archive, sys.implementation.cache_tag)
        found = os.stat(archive)
        of = found.st_size, found.st_mtime_ns
        codes = _read(kept, of) or _make(archive, kept, of)
        sys.meta_path.insert(0, Compiled(codes, archive))


def _is_private(folder: str) -> bool:
    found = os.stat(folder)
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _read(kept: str, of: Of) -> Optional[Dict[str, bytes]]:
    try:
        with open(kept, "rb") as file:
            whole = file.read()
        if zlib.crc32(whole[SUM_BYTES:]) == int.from_bytes(whole[:SUM_BYTES], "big"):
            made_of, codes = marshal.loads(whole[SUM_BYTES:])   # noqa: S302
            return codes if made_of == of else None
    except (OSError, EOFError, ValueError, TypeError):
        pass
    return None


def _make(archive: str, kept: str, of: Of) -> Dict[str, bytes]:
    import zipfile  # noqa: PLC0415  (only the first run on a host comes here)

    codes = {}
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            if name.startswith("mover/") and name.endswith(".py"):
                module = name[:-len(".py")].replace("/__init__", "").replace("/", ".")
                codes[module] = marshal.dumps(compile(
                    packed.read(name), os.path.join(archive, name), "exec", dont_inherit=True))
    whole = marshal.dumps((of, codes))
    part = "%s.%d.part" % (kept, os.getpid())
    with contextlib.suppress(OSError):
        fd = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(zlib.crc32(whole).to_bytes(SUM_BYTES, "big") + whole)
        os.rename(part, kept)
    return codes

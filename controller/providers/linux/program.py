"""The programs that are sent to hosts, each as one text, even if it has several modules."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Final

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "facts.py": ("programs.py", "drops.py", "interfaces.py", "guests/capabilities.py", "probes.py",
                 "mover/image/header.py", "filesystem.py", "pools.py", "domains.py",
                 "libvirt_poll.py", "guests/serving.py", "guests/drills.py", "replicas.py",
                 "leftovers.py",
                 "network/files.py", "network/links.py", "network/gateways.py", "records.py",
                 "guard/errors.py", "guard/clock.py", "guard/config.py", "guard/page.py",
                 "guard/guests.py",
                 "guard/shown.py"),
}
"""By program: our modules that it imports, each after those that it imports itself."""
IMPORTER: Final = """\
import sys, types
def define(name, source):
    part = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), part.__dict__)
"""


def join_program(main: str, parts: Mapping[str, str]) -> str:
    """Return one text that defines its parts (module name -> source) as modules and runs `main`."""
    defined = [f"define({name!r}, {source!r})\n" for name, source in parts.items()]
    return "".join((IMPORTER, *defined, main))


def module_of(part: str) -> str:
    """Return the name under which a part is imported."""
    return part.removesuffix(".py").replace("/", ".")


@cache
def load_program(name: str) -> str:
    """Return the source of a program that is sent to hosts."""
    parts = PARTS.get(name, ())
    if not parts:
        return read_source(name)
    return join_program(read_source(name), {module_of(part): read_source(part)
                                            for part in parts})


def read_source(name: str) -> str:
    """Return the source of one file below remote/."""
    return (resources.files("controller") / "remote" / name).read_text(encoding="utf-8")

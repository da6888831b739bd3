"""The layers, as a test: a room imports only rooms written below it; siblings never meet."""

import ast
import re
from pathlib import Path

import pytest

from controller.providers.linux.program import PARTS

LAYERS = (
    ("cli",),
    ("web",),
    ("reconcile",),
    ("replication",),
    ("providers",),
    ("source", "transport", "store"),
    ("telemetry",),
    ("adoption", "alerting"),
    ("plan",),
    ("failover",),
    ("model",),
    ("errors",),
)
FLOORS = {
    "plan": ("compute", "conditions", "prediction", "output", "gates", "failover", "drill",
             "promotion", "replication", "machine", "network", "guarding", "leaving", "steps",
             "survey", "actions", "packing", "break_glass"),
    "reconcile": ("inspect", "manager", "ask",
                  ("supervise", "export", "fence", "leave", "importing"), "checkup",
                  "break_glass", "review", ("once", "rehearsal", "simulation"),
                  ("loop", "notify"), "act", "report", "decide", "observe", "lease",
                  ("garbage", "host_keys", "tasks")),
    "remote/mover": ("__main__", "session", "drill", "failover", "backup", "replica", "transfer",
                     "image", ("verbs", "bytecode"),
                     ("locks", "requests", "processes", "copy_mode", "term", "detached"), "errors"),
}
"""Inside a room: a folder or module imports only what stands below it."""
MOST_FILES = 15
PURE = {"adoption", "alerting", "plan", "failover", "model", "errors"}
PURE_MAY_IMPORT = {"bisect", "collections", "controller", "dataclasses", "enum", "fnmatch",
                   "functools", "hashlib", "heapq", "ipaddress", "itertools", "json", "math",
                   "operator", "pydantic", "re", "string", "textwrap", "typing", "unicodedata",
                   "uuid"}
LOADED_AS_DATA = {"remote"}
TOP = {"__init__", "__main__", "errors"}
ONLY_USER = {"tenacity": "transport/retry.py", "asyncssh": "transport/",
             "httpx": "transport/http.py",
             "opentelemetry": "telemetry/", "prometheus_client": "telemetry/",
             "watchfiles": "source/", "ryaml": "source/", "yaml": "source/", "sqlite3": "store/",
             "typer": "cli/", "rich": "cli/", "fastapi": "web/", "starlette": "web/",
             "jinja2": "web/", "uvicorn": "web/"}

ROOT = Path(__file__).parent.parent / "controller"
HEIGHT = {room: -level for level, rooms in enumerate(LAYERS) for room in rooms}
MODULES = sorted(p for p in ROOT.rglob("*.py")
                 if p.relative_to(ROOT).parts[0] not in LOADED_AS_DATA)


def imports(source: str) -> set[str]:
    """Every absolute module name imported anywhere in `source`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: write it out, so that grep finds it"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def complaints(path: str, source: str) -> list[str]:
    """Every way in which `source`, living at `path` below controller/, breaks the layering."""
    room = path.split("/", maxsplit=1)[0].removesuffix(".py")
    found = []
    for name in sorted(imports(source)):
        top, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if room in PURE and top not in PURE_MAY_IMPORT:
            found.append(f"{room} is pure and may not import {name}")
        if top in ONLY_USER and not path.startswith(ONLY_USER[top]):
            found.append(f"only {ONLY_USER[top]} may import {top}")
        if top != "controller" or target in {"", "__version__", room} or room in TOP - {"errors"}:
            continue
        if target in LOADED_AS_DATA:
            found.append(f"{target} is sent to hosts, never imported")
        elif HEIGHT[target] >= HEIGHT[room]:
            found.append(f"{room} may not import {target}")
    awaits = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    if room in PURE and any(isinstance(node, awaits) for node in ast.walk(ast.parse(source))):
        found.append(f"{room} is pure and may not await")
    if room in PURE and "open(" in source:
        found.append(f"{room} is pure and may not open files")
    return found


def floor_of(room: str, name: str) -> int | None:
    """Return how high a folder or module stands in its room, or None if it is not on the map."""
    for level, names in enumerate(FLOORS[room]):
        if name in (names if isinstance(names, tuple) else (names,)):
            return -level
    return None


def downhill(path: str, source: str) -> list[str]:
    """Every import by which a module, at `path` below controller/, looks upwards in its room."""
    room = next((one for one in FLOORS if path.startswith(f"{one}/")), None)
    if room is None:
        return []
    own = path.removeprefix(f"{room}/").split("/")[0].removesuffix(".py")
    if own == "__init__":
        return []
    height = floor_of(room, own)
    if height is None:
        return [f"{own} has no floor in {room}"]
    prefix = "mover." if room == "remote/mover" else f"controller.{room}."
    found = []
    for name in sorted(imports(source)):
        target = name.removeprefix(prefix).split(".")[0] if name.startswith(prefix) else own
        floor = floor_of(room, target)
        if target != own and (floor is None or floor >= height):
            found.append(f"{own} may not import {target}")
    return sorted(set(found))


@pytest.mark.parametrize("path", sorted(p for room in FLOORS for p in (ROOT / room).rglob("*.py")),
                         ids=lambda p: str(p.relative_to(ROOT)))
def test_inside_a_room_imports_go_down(path: Path) -> None:
    assert downhill(str(path.relative_to(ROOT)), path.read_text()) == []


@pytest.mark.parametrize(("path", "source", "complaint"), [
    ("plan/machine/x.py", "from controller.plan.gates.gates import judge",
     "machine may not import gates"),
    ("plan/survey/x.py", "from controller.plan.steps import draft", "survey may not import steps"),
    ("plan/x.py", "", "x has no floor in plan"),
    ("reconcile/observe/x.py", "from controller.reconcile.act import queue",
     "observe may not import act"),
    ("remote/mover/image/x.py", "from mover.replica.state import State",
     "image may not import replica"),
    ("remote/mover/transfer/x.py", "def f():\n    from mover.backup import virsh",
     "transfer may not import backup"),
])
def test_a_planted_import_uphill_is_caught(path: str, source: str, complaint: str) -> None:
    assert complaint in downhill(path, source)


def test_no_folder_holds_more_than_one_can_look_through() -> None:
    count = {folder: sum(1 for p in folder.glob("*.py") if p.name != "__init__.py")
             for folder in {path.parent for path in ROOT.rglob("*.py")}}
    crowded = {str(folder): n for folder, n in count.items() if n > MOST_FILES}
    assert crowded == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_respects_the_layers(path: Path) -> None:
    assert complaints(str(path.relative_to(ROOT)), path.read_text()) == []


def test_every_room_is_on_the_map() -> None:
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert rooms <= set(HEIGHT) | LOADED_AS_DATA


@pytest.mark.parametrize(("path", "source", "complaint"), [
    ("plan/x.py", "import asyncio", "plan is pure and may not import asyncio"),
    ("plan/x.py", "from controller.providers import base", "plan may not import providers"),
    ("plan/x.py", "async def f(): ...", "plan is pure and may not await"),
    ("plan/x.py", "text = open('x').read()", "plan is pure and may not open files"),
    ("model/x.py", "import random", "model is pure and may not import random"),
    ("errors.py", "import time", "errors is pure and may not import time"),
    ("source/x.py", "import controller.store", "source may not import store"),
    ("cli/x.py", "from controller.remote import facts", "remote is sent to hosts, never imported"),
    ("reconcile/x.py", "import tenacity", "only transport/retry.py may import tenacity"),
    ("failover/x.py", "def f():\n    from controller.plan import actions",
     "failover may not import plan"),
])
def test_the_checker_catches_a_planted_violation(path: str, source: str, complaint: str) -> None:
    assert complaint in complaints(path, source)


@pytest.mark.parametrize("path", sorted((ROOT / "remote").rglob("*.py")),
                         ids=lambda p: str(p.relative_to(ROOT / "remote")))
def test_what_is_sent_to_hosts_needs_nothing_but_the_standard_library(path: Path) -> None:
    import sys

    tops = {name.partition(".")[0] for name in imports(path.read_text())}
    own = {"mover", "guard"} & set(path.parts)      # each is sent as one archive
    for main, parts in PARTS.items():                             # sent as one text
        own |= {Path(part).parts[0].removesuffix(".py") for part in parts
                if str(path.relative_to(ROOT / "remote")) in {main, *parts}}
    assert tops <= set(sys.stdlib_module_names) | own


def test_the_map_names_only_files_that_are_there() -> None:
    text = (ROOT.parent / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`([a-z_/]+\.py)`", text))
    there = [path.as_posix() for folder in ("controller", "tests")
             for path in (ROOT.parent / folder).rglob("*.py")]
    assert {name for name in named if not any(path.endswith(f"/{name}") for path in there)} == set()


def test_the_map_names_every_room_and_floor() -> None:
    text = (ROOT.parent / "ARCHITECTURE.md").read_text()
    rooms = {one for level in LAYERS for one in level} - TOP
    floors = {one for room in FLOORS for level in FLOORS[room]
              for one in ((level,) if isinstance(level, str) else level)
              if (ROOT / room / one).is_dir()}
    assert {name for name in rooms | floors if f"`{name}/`" not in text} == set()

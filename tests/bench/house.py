"""How easily the code can be followed: files, cycles, and how often a reader changes the file.

`make bench-house`, or `python -m tests.bench.house [CHECKOUT …]`, prints a table and JSON of any
revisions, side by side. What is counted, all of it in `controller/`:

- most files in a folder, `__init__.py` excepted; and the lines of the longest file
- modules in import cycles: modules that import each other at load, or import one that does
- private functions called once: the share of functions and methods with a leading underscore whose
  name is read at most once in their module; each costs a reader a jump and names no reused thought.
  Of those, how many are shorter than six lines and really called there, not handed to somebody
- changes of file per 100 lines: code is read depth-first from an entry point, each function of ours
  where it is first called and once. A change of file is a line read in another file than the line
  before. Calls that cannot be resolved by reading the text are not followed
- machines explained: how many of the modules that run a machine of states (a loop, a queue, a job)
  say in 80 words or more what it is for, in which order and why; and the words of the shortest
"""

import ast
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ENTRIES = {
    "plan": ("plan/compute.py", "compute"),
    "apply": ("cli/apply.py", "apply"),
    "one copy": ("replication/cycle.py", "Cycle.run"),
    "one scrub": ("remote/mover/replica/scrub.py", "run"),
    "explain": ("cli/explain.py", "explain"),
}
BEFORE = {"one scrub": ("remote/mover/verify.py", "run")}
"""Where an entry point was in earlier revisions."""
MACHINES = (
    "plan/compute.py", "plan/machine/state.py", "plan/gates/gates.py",
    "reconcile/loop.py", "reconcile/act/queue.py", "replication/cycle.py",
    "remote/mover/replica/incoming.py", "remote/mover/replica/retire.py",
    "remote/mover/backup/watchdog.py",
)
"""Modules whose order matters, and who may write when: their docstrings say why."""
WORDS = 80
SHORT = 6
OF_PYTHON = {name for kind in (bytearray, bytes, dict, frozenset, int, list, set, str, tuple)
             for name in dir(kind)}
"""A method of such a name may be that of a value of Python's own: it is not followed."""


@dataclass
class Module:
    """One file: its functions by qualified name, and what its names mean."""

    path: Path
    tree: ast.Module
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Imported name -> (module, name in it or "")."""


class House:
    """All modules of one checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root / "controller"
        self.modules = {self._dotted(path): self._read(path)
                        for path in sorted(self.root.rglob("*.py"))}
        self.methods: dict[str, list[tuple[str, str]]] = {}
        for dotted, module in self.modules.items():
            for name in module.functions:
                if "." in name:
                    self.methods.setdefault(name.split(".")[1], []).append((dotted, name))

    def _dotted(self, path: Path) -> str:
        parts = path.relative_to(self.root.parent).with_suffix("").parts
        if parts[1:3] == ("remote", "mover"):
            parts = parts[2:]
        return ".".join(parts).removesuffix(".__init__")

    def _read(self, path: Path) -> Module:
        module = Module(path, ast.parse(path.read_text()))
        for node in module.tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                module.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                        module.functions[f"{node.name}.{inner.name}"] = inner
        for found in ast.walk(module.tree):
            if isinstance(found, ast.ImportFrom) and found.module:
                for alias in found.names:
                    module.names[alias.asname or alias.name] = (found.module, alias.name)
        return module

    def called(self, dotted: str, owner: str, call: ast.expr) -> tuple[str, str] | None:
        """Return which function of ours a call means, where that can be read from the text."""
        module = self.modules[dotted]
        if isinstance(call, ast.Name):
            if call.id in module.functions:
                return dotted, call.id
            return self._imported(module.names.get(call.id))
        if not isinstance(call, ast.Attribute):
            return None
        if isinstance(call.value, ast.Name):
            own = f"{owner.split('.', maxsplit=1)[0]}.{call.attr}"
            if call.value.id == "self" and own in module.functions:
                return dotted, own
            base = module.names.get(call.value.id)
            if base is not None and f"{base[0]}.{base[1]}" in self.modules:
                return self._imported((f"{base[0]}.{base[1]}", call.attr))
        known = self.methods.get(call.attr, [])
        return known[0] if len(known) == 1 and call.attr not in OF_PYTHON else None

    def _imported(self, name: tuple[str, str] | None) -> tuple[str, str] | None:
        if name is None or name[0] not in self.modules:
            return None
        functions = self.modules[name[0]].functions
        if name[1] in functions:
            return name
        return (name[0], f"{name[1]}.__init__") if f"{name[1]}.__init__" in functions else None

    def read(self, entry: tuple[str, str]) -> tuple[int, int]:
        """Return (lines read, changes of file) from an entry point, depth-first."""
        dotted = self._dotted(self.root / entry[0])
        lines, changes, last = 0, 0, None
        for path in self._lines(dotted, entry[1], set()):
            lines += 1
            changes += last is not None and path != last
            last = path
        return lines, changes

    def _lines(self, dotted: str, name: str, seen: set[tuple[str, str]]) -> Iterator[Path]:
        seen.add((dotted, name))
        module = self.modules[dotted]
        function = module.functions[name]
        calls: dict[int, list[tuple[str, str]]] = {}
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                target = self.called(dotted, name, node.func)
                if target is not None:
                    calls.setdefault(node.lineno, []).append(target)
        for line in range(function.lineno, (function.end_lineno or function.lineno) + 1):
            yield module.path
            for target in calls.get(line, ()):
                if target not in seen:
                    yield from self._lines(*target, seen)

    def cycles(self) -> int:
        """Return how many modules import each other at load, or import one that does."""
        edges = {dotted: {target for node in module.tree.body if isinstance(node, ast.ImportFrom)
                          for alias in node.names
                          for target in (f"{node.module}.{alias.name}", node.module or "")
                          if target in self.modules and target != dotted}
                 for dotted, module in self.modules.items()}
        while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
            for name in leaves:
                del edges[name]
        return len(edges)

    def called_once(self) -> tuple[float, int]:
        """Return which share of the private functions is used at one place, and how many of those
        are short and called there."""
        private, uses, calls = set(), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for dotted, module in self.modules.items():
            private |= {(dotted, name) for name in module.functions
                        if name.split(".")[-1].startswith("_") and "__" not in name}
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
                    uses[dotted, last_name(node)] += 1
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                    calls[dotted, last_name(node.func)] += 1
        once = [(dotted, name) for dotted, name in private
                if uses[dotted, name.split(".")[-1]] <= 1]
        short = sum(1 for dotted, name in once if calls[dotted, name.split(".")[-1]]
                    and lines_of(self.modules[dotted].functions[name]) < SHORT)
        return len(once) / len(private), short


def last_name(node: ast.Attribute | ast.Name) -> str:
    """Return the name that is read, without what it is read of."""
    return node.attr if isinstance(node, ast.Attribute) else node.id


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function, its first and its docstring included."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def words_on_top(path: Path) -> int:
    """Return how many words a module says about itself; of one that is not there, none."""
    return len((ast.get_docstring(ast.parse(path.read_text())) or "").split()
               ) if path.exists() else 0


def measure(root: Path) -> dict[str, float]:
    """Return every figure of one checkout."""
    house = House(root)
    folders = Counter(module.path.parent for module in house.modules.values()
                      if module.path.name != "__init__.py")
    once, short = house.called_once()
    figures: dict[str, float] = {
        "most files in a folder": max(folders.values()),
        "largest file, lines": max(module.path.read_text().count("\n")
                                   for module in house.modules.values()),
        "modules in import cycles": house.cycles(),
        "private functions called once, %": round(100 * once, 1),
        "of these under six lines, and called": short,
    }
    words = [words_on_top(house.root / name) for name in MACHINES]
    figures[f"machines explained, of {len(MACHINES)}"] = sum(count >= WORDS for count in words)
    figures["words on the machine explained least"] = min(words)
    lines, changes = 0, 0
    for name, entry in ENTRIES.items():
        place = entry if (house.root / entry[0]).exists() else BEFORE[name]
        read, changed = house.read(place)
        figures[f"changes of file per 100 lines: {name}"] = round(100 * changed / read, 2)
        lines, changes = lines + read, changes + changed
    figures["changes of file per 100 lines: all"] = round(100 * changes / lines, 2)
    return figures


def main(words: list[str]) -> None:
    """Print the figures of each checkout named, side by side."""
    roots = [Path(word) for word in words] or [Path(__file__).parents[2]]
    columns = [measure(root) for root in roots]
    for name in columns[0]:
        sys.stdout.write(f"{name:44}" + "".join(f"{column[name]:>10}" for column in columns) + "\n")
    sys.stdout.write(json.dumps(dict(zip(map(str, roots), columns, strict=True))) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

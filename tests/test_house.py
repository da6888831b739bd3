"""The house's own rules: retired names stay away, nothing lives for tests alone, tests have places.

A glossary of the old names and what they became: whoever meets one in an old branch finds its name
of today here.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = (ROOT / "examples/lab/lab", ROOT / "examples/stock/stock")
CODE = sorted((ROOT / "controller").rglob("*.py"))
FILES = sorted({*CODE, *(ROOT / "tests").rglob("*.py")} - {Path(__file__)})
FILES_OF_USERS = (*CODE, *(path for path in sorted((ROOT / "examples").rglob("*"))
                           if path.suffix == ".py" or path in PROGRAMS))
MOST_TESTS = 20

RETIRED = {
    # plan
    "ground": "survey", "grounds": "survey",
    "charge": "protected", "charges": "protected",
    "standing": "state", "standings": "states",
    "ghost": "last_seen", "ghosts": "last_seen",
    "ruin": "assumed_lost", "ruins": "assumed_lost",
    "departed": "removed_hosts",
    "faded": "stale", "untold": "never_asked", "astray": "misplaced", "doomed": "to_delete",
    "board": "packing", "boards": "packings",
    "rooted": "has_local_disks", "homeless": "unplaced", "hopeless": "no_fit",
    "shelf": "place", "shelves": "placer",
    "wish": "desired, or a replica's request", "wishes": "desired, or a replica's requests",
    # replication and reconcile
    "picture": "state, loop_status", "pictures": "states",
    "passage": "ssh_route", "passages": "ssh_routes",
    "locksmith": "key_source", "carrier": "transfer", "hearer": "events",
    "circumstance": "context", "circumstances": "context",
    "keeper": "journal_writer", "keepers": "journal_writers",
    "stirred": "wake", "glance": "poll_store", "glances": "polls",
    "undisturbed": "gc_paused", "urgency": "priority", "urgencies": "priorities",
    # mover
    "papers": "definition", "squeeze": "pack", "outlet": "receivers", "outlets": "receivers",
    "tenant": "user", "tenants": "users",
}
"""Words that are gone, from identifiers and their parts, from comments and from docstrings."""
RETIRED_NAMES = {
    "Given": "SpecIndex", "Policy": "Context", "Stand": "Location",
    "NOWHERE": "ABSENT", "HIDDEN": "UNKNOWN", "MOVING": "BUSY",
    "DOUBLE": "SPLIT_BRAIN", "SPLIT": "AMBIGUOUS",
    "take_off": "remove", "line_up": "build_heaps", "queue_for_room": "wait_for_capacity",
    "Slots": "ConcurrencyLimits", "Guard": "gates, or Watchdog",
    "Course": "DiskPlan", "Opened": "OpenDisk", "Reach": "Transfer", "Way": "CopyEnds",
    "Pace": "Transfer", "Account": "CopyReport", "Early": "BackgroundSync", "let_go": "retire",
}
"""Whole identifiers that are gone; in a sentence the same word means nothing of ours."""
RETIRED_MODULES = {
    "plan": {
        "given": "survey", "policy": "context", "charge": "protected_machine",
        "standing": "state", "board": "packing", "room": "layout", "flight": "concurrency",
        "guard": "gates", "wishes": "actions.desired", "case": "state", "places": "problem",
    },
    "replication": {
        "picture": "copy_plan", "choice": "copy_plan", "passage": "ssh_route",
        "reach": "transfer", "carrier": "transfer", "sending": "transfer",
        "telling": "report", "shares": "bandwidth", "hands": "provider",
    },
    "reconcile": {
        "circumstances": "context", "settled": "context", "keeper": "journal_writer",
        "remembered": "last_seen", "memory": "tasks", "urgency": "queue", "decider": "planner",
        "measure": "metrics", "work": "worker", "apply": "applier",
    },
    "providers/linux": {"memory": "fact_cache"},
    "remote/mover": {
        "guard": "watchdog", "job": "conductor", "begin": "backup_job", "ending": "backup_job",
        "freeze": "quiesce", "cold": "offline", "papers": "definition", "squeeze": "packed_file",
        "outlet": "receivers", "streams": "receivers", "stream": "wire", "quick": "bytecode",
        "early": "receive", "verify": "scrub", "mend": "damage", "merge": "retire",
        "tenants": "remove", "orders": "requests", "attend": "session", "holes": "sparse",
    },
}
"""Names of modules, by room: neither one there nor the tests of one is called so again."""
ONE_CLASS = ("Begun", "Guard", "Limits", "Memory", "Orders", "Picture", "Plan", "Seen", "Shelf",
             "Standing", "Verdict", "Work")
"""Each of these once meant two or three things."""
MAY = {
    "board": ("controller/model/host.py",),                 # a management controller is a board
    "boards": ("controller/source/check/hosts.py",),
    "carrier": ("controller/model/inter_site_link.py",),    # who sells the line
}
"""Word -> where it means something else."""
CALLED_FROM_OUTSIDE = {
    "find_spec": "importlib asks finders", "create_module": "importlib asks loaders",
    "exec_module": "importlib asks loaders",
    "connection_made": "asyncssh calls sessions", "connection_lost": "asyncssh calls sessions",
    "data_received": "asyncssh calls sessions", "pause_writing": "asyncssh calls sessions",
    "resume_writing": "asyncssh calls sessions", "exit_status_received": "asyncssh calls sessions",
    "exit_signal_received": "asyncssh calls sessions",
    "field_title_should_be_set": "pydantic asks its schema generators",
}
"""Methods that a library calls, and which."""
USED_BY_TESTS = {
    "controller.cli.app.VERBS",         # the help's tests go through every verb by it
    "controller.providers.simulated.estate.SimulatedEstate.ping",   # what no controller can ask
}
PLAIN_DECORATORS = {"abstractmethod", "cache", "cached_property", "classmethod", "contextmanager",
                    "asynccontextmanager", "dataclass", "lru_cache", "override", "property",
                    "staticmethod", "total_ordering", "unique"}
"""All others hand what they decorate to somebody who calls it: a validator, a command."""


def words_of(identifier: str) -> set[str]:
    """Return an identifier and, in lower case, the words it is made of."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", identifier)
    return {part.lower() for part in parts}


def said_about(text: str) -> Iterator[str]:
    """Yield every comment and docstring of a module, the docstrings of attributes included."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(text)):
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)):
            yield node.value.value


def old_words(name: str, text: str) -> set[str]:
    """Return every retired word or name that a file, at `name` below the root, still has."""
    identifiers = {token.string for token in
                   tokenize.generate_tokens(io.StringIO(text).readline)
                   if token.type == tokenize.NAME}
    words = {word for identifier in identifiers for word in words_of(identifier)}
    words |= {word.lower() for sentence in said_about(text)
              for word in re.findall(r"[A-Za-z]+", sentence)}
    found = (words & RETIRED.keys()) | (identifiers & RETIRED_NAMES.keys())
    return {word for word in found if name not in MAY.get(word, ())}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_retired_word_comes_back(path: Path) -> None:
    found = old_words(str(path.relative_to(ROOT)), path.read_text())
    assert {word: RETIRED.get(word) or RETIRED_NAMES.get(word) for word in found} == {}


@pytest.mark.parametrize(("text", "word"), [
    ("def f(ground): ...", "ground"), ("x = DomainWish()", "wish"), ("last_shelf = 1", "shelf"),
    ("# what the keeper wrote", "keeper"), ("class A:\n    b = 1\n    'Ghosts.'", "ghosts"),
    ("from x import take_off", "take_off"), ("Stand = 1", "Stand")])
def test_a_planted_word_is_caught(text: str, word: str) -> None:
    assert old_words("x.py", text) == {word}


def test_a_word_in_a_message_or_of_another_meaning_stays() -> None:
    assert old_words("x.py", "# Stand by.\nx = 'left standing'") == set()
    assert old_words("controller/model/inter_site_link.py", "# a carrier") == set()


def test_no_module_has_the_name_of_a_retired_one() -> None:
    back = [str(path.relative_to(ROOT)) for room, names in RETIRED_MODULES.items()
            for place in (ROOT / "controller" / room, ROOT / "tests" / room.split("/")[-1])
            for path in place.rglob("*.py") if path.stem.removeprefix("test_") in names]
    assert back == []


def test_one_class_has_one_meaning() -> None:
    count = Counter(node.name for path in CODE for node in ast.walk(ast.parse(path.read_text()))
                    if isinstance(node, ast.ClassDef))
    assert {name for name in ONE_CLASS if count[name] > 1} == set()


Function = ast.FunctionDef | ast.AsyncFunctionDef


class Uses:
    """Which names of which modules the program uses: `controller/` and `examples/`, not tests.

    A name counts as used where it is read outside its own definition, imported and read, or named
    in a table as `module:name`. Of methods only the name is known, not the class.
    """

    def __init__(self) -> None:
        self.modules = {self.dotted(path): ast.parse(path.read_text()) for path in FILES_OF_USERS}
        self.imported = {name: self._imports(tree) for name, tree in self.modules.items()}
        self.read: set[tuple[str, str]] = set()
        self.attributes: set[str] = set()
        for name, tree in self.modules.items():
            for top in tree.body:
                for node in ast.walk(top):
                    self._note(name, getattr(top, "name", ""), node)

    @staticmethod
    def dotted(path: Path) -> str:
        """Return a module's name; what is sent to hosts has names of its own there."""
        parts = path.relative_to(ROOT).with_suffix("").parts
        parts = parts[2:] if parts[:2] == ("controller", "remote") else parts
        return ".".join(parts).removesuffix(".__init__")

    @staticmethod
    def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
        return {alias.asname or alias.name: (node.module or "", alias.name)
                if isinstance(node, ast.ImportFrom) else (alias.name, "")
                for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names}

    def _note(self, module: str, inside: str, node: ast.AST) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id != inside:
            self._read(module, node.id)
        elif isinstance(node, ast.Attribute):
            self.attributes.add(node.attr)
            if isinstance(node.value, ast.Name) and node.value.id in self.imported[module]:
                base = ".".join(filter(None, self.imported[module][node.value.id]))
                self._read(base, node.attr)
            elif isinstance(node.value, ast.Call):      # of a module that was found by its name
                self.read.add(("", node.attr))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            place, _, name = node.value.rpartition(":")
            self._read(place or module, name)

    def _read(self, module: str, name: str) -> None:
        """Note a name, and where it comes from if the module has imported it."""
        while (module, name) not in self.read:
            self.read.add((module, name))
            module, name = self.imported.get(module, {}).get(name, (module, name))

    def unused(self) -> Iterator[str]:
        """Yield every function, class, method and constant that only tests can use."""
        for module, tree in self.modules.items():
            if module.startswith("examples."):
                continue
            for node in tree.body:
                yield from (f"{module}.{name}" for name in self._defined(node)
                            if not self.read & {(module, name), ("", name)})
                if isinstance(node, ast.ClassDef):
                    yield from (f"{module}.{node.name}.{inner.name}" for inner in node.body
                                if isinstance(inner, Function)
                                for name in self._defined(inner)
                                if name not in self.attributes | CALLED_FROM_OUTSIDE.keys())

    @staticmethod
    def _defined(node: ast.stmt) -> list[str]:
        if isinstance(node, Function | ast.ClassDef):
            decorators = {ast.unparse(one).partition("(")[0].rpartition(".")[2]
                          for one in node.decorator_list}
            names = [node.name] if decorators <= PLAIN_DECORATORS else []
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        return [name for name in names if not name.startswith("__")]


def test_nothing_lives_for_tests_alone() -> None:
    assert sorted(set(Uses().unused()) - USED_BY_TESTS) == []


def test_no_folder_of_tests_is_too_long_to_look_through() -> None:
    count = Counter(path.parent for path in FILES if path.name.startswith("test_"))
    assert {str(folder) for folder, tests in count.items() if tests > MOST_TESTS} == set()


@pytest.mark.parametrize(("tests", "room"), [
    ("plan", "plan"), ("reconcile", "reconcile"), ("source", "source"), ("mover", "remote/mover"),
    ("providers", "providers")])
def test_tests_lie_where_their_subject_does(tests: str, room: str) -> None:
    folders = {path.parent.relative_to(ROOT / "tests" / tests)
               for path in (ROOT / "tests" / tests).rglob("test_*.py")}
    assert {folder for folder in folders if not (ROOT / "controller" / room / folder).is_dir()
            } == set()

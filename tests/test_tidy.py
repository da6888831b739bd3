"""The house rules that can be counted, each with its number and its reason in one place."""

import ast
from pathlib import Path

import pytest

LINE_COLUMNS = 100      # two files side by side on one screen
FUNCTION_LINES = 60     # a function fits on a screen, docstring included
FILE_LINES = 400        # a file is read in one sitting
BANNED = {
    "print(": "only the command line speaks to the terminal",
    "datetime.now(": "time is an argument",
    "time.time(": "time is an argument",
    "except Exception": "name what you expect; only the loop may catch wide",
    "except:": "name what you expect",
    "type: ignore": "fix the type",
    "unittest.mock": "fakes, not mocks",
    "TODO": "do it or drop it",
    "FIXME": "do it or drop it",
    "shell=True": "argv, never a shell string",
}
MAY = {
    "print(": ("controller/cli/", "controller/remote/", "examples/", "tests/bench/"),
    "except Exception": ("controller/reconcile/loop.py", "tests/test_tidy.py"),
    "time.time(": ("controller/reconcile/manager.py", "controller/remote/", "examples/", "tests/"),
    "datetime.now(": ("tests/",),
}
VAGUE = {"utils", "helpers", "common", "misc", "manager2", "util", "helper", "stuff"}

ROOT = Path(__file__).parent.parent
PROGRAMS = (ROOT / "examples/lab/lab", ROOT / "examples/stock/stock")
FOLDERS = ("controller", "tests", "examples")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
               if path.is_file() and "__pycache__" not in path.parts
               and (path.suffix == ".py" or path in PROGRAMS))


def words_out_of_place(name: str, lines: list[str]) -> list[str]:
    """Every banned word and every long line of `name`."""
    found = []
    for number, line in enumerate(lines, start=1):
        if len(line) > LINE_COLUMNS:
            found.append(f"{number}: over {LINE_COLUMNS} columns")
        if name == "tests/test_tidy.py":
            continue
        found += [f"{number}: {word} -- {why}" for word, why in BANNED.items()
                  if word in line and not name.startswith(MAY.get(word, ()))]
    return found


def untidy(name: str, text: str) -> list[str]:
    """Every house rule that `text`, at `name` below the root, breaks, as `line: what`."""
    lines = text.splitlines()
    found = words_out_of_place(name, lines)
    if len(lines) > FILE_LINES:
        found.append(f"{len(lines)}: file over {FILE_LINES} lines")
    if Path(name).stem in VAGUE:
        found.append(f"1: the name {Path(name).stem} tells nothing")
    tree = ast.parse(text)
    if not ast.get_docstring(tree):
        found.append("1: module without a docstring")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += untidy_function(name, node)
    return found


def untidy_function(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Every rule on functions that `node` breaks."""
    found = []
    assert node.end_lineno is not None
    if node.end_lineno - node.lineno >= FUNCTION_LINES:
        found.append(f"{node.lineno}: {node.name} over {FUNCTION_LINES} lines")
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    untyped = [a.arg for a in arguments if a.annotation is None and a.arg not in {"self", "cls"}]
    if untyped or node.returns is None:
        found.append(f"{node.lineno}: {node.name} is not fully annotated")
    public = not node.name.startswith("_") and name.startswith("controller/")
    if public and not ast.get_docstring(node):
        found.append(f"{node.lineno}: {node.name} has no docstring")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_file_is_tidy(path: Path) -> None:
    assert untidy(str(path.relative_to(ROOT)), path.read_text()) == []


@pytest.mark.parametrize(("text", "complaint"), [
    ('"""A."""\nx = 1\n' * 201, "402: file over 400 lines"),
    ('"""A."""\n' + "x" * 101, "2: over 100 columns"),
    ('"""A."""\ndef f(a) -> None: ...', "2: f is not fully annotated"),
    ('"""A."""\ndef f() -> None: ...', "2: f has no docstring"),
    ('"""A."""\ndef f() -> None:\n    """B."""\n' + "    x = 1\n" * 60, "2: f over 60 lines"),
    ("x = 1", "1: module without a docstring"),
    ('"""A."""\ntry: ...\nexcept Exception: ...',
     "3: except Exception -- name what you expect; only the loop may catch wide"),
])
def test_the_checker_catches_a_planted_violation(text: str, complaint: str) -> None:
    assert complaint in untidy("controller/plan/x.py", text)


def imported_names(text: str) -> set[str]:
    """Every module name that `text` imports, both of `from a import b` included."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_module_is_imported_somewhere() -> None:
    named = set().union(*(imported_names(path.read_text()) for path in FILES))
    by_name = "".join((ROOT / "controller/cli" / table).read_text()
                      for table in ("app.py", "replica/__init__.py", "break_glass/__init__.py"))
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts)
               for path in (ROOT / "controller").rglob("*.py")
               if path.name not in {"__init__.py", "__main__.py"} and "remote" not in path.parts}
    dead = {name for name in modules - named if f'"{name}"' not in by_name}
    assert dead == set()

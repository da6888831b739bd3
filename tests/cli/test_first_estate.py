"""The guide of examples/first-estate, as far as no host is needed: its commands are ones that this
hotsite has, and few. `examples/stock/stock guide` goes it on real hosts, by the same reader.
"""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer

from controller.cli.app import build

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "examples/first-estate/README.md"
MOST = 20


def load_reader() -> Any:
    """The program that reads guides; examples are no package."""
    spec = importlib.util.spec_from_file_location("guide", ROOT / "examples/stock/guide.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


READER = load_reader()
TYPED = READER.steps_of(GUIDE)


def test_the_guide_is_short() -> None:
    assert 5 <= len(TYPED) <= MOST


@pytest.mark.parametrize("command", [
    words for step in TYPED for words in re.findall(r"(?:^|&& |; )hotsite ([^\n;&|]*)",
                                                    step.command)])
def test_its_commands_are_ones_that_there_are(command: str) -> None:
    words = shlex.split(command.partition(" >")[0])
    group = typer.main.get_command(build())
    assert isinstance(group, click.Group) or hasattr(group, "commands")
    context = group.make_context("hotsite", words, resilient_parsing=False)
    name, verb, rest = group.resolve_command(context, list(words))
    assert verb is not None
    verb.make_context(str(name), rest, parent=context)


@pytest.mark.parametrize(("shown", "seen", "alike"), [
    pytest.param(("made point 2 in 12s",), ["made point 2 in 1m02s"], True, id="another time"),
    pytest.param(("made point 2 in 12s",), ["made point 3 in 12s"], False, id="another number"),
    pytest.param(("a … d",), ["a b c d"], True, id="something within a line"),
    pytest.param(("a", "…", "d"), ["a", "b", "c", "d"], True, id="lines left out"),
    pytest.param(("a", "…"), ["a"], True, id="nothing left out"),
    pytest.param(("a",), ["a", "b"], False, id="more than is shown"),
    pytest.param(("a", "b"), ["a"], False, id="less than is shown"),
    pytest.param(("at 12:00 SHA256:" + "a" * 43,), ["at 09:41 SHA256:" + "b" * 43], True,
                 id="another fingerprint"),
    pytest.param(("revision 98fdc10de040",), ["revision 0123456789ab"], True, id="revision"),
    pytest.param(("…", "b", "…"), ["a"], False, id="a line that has to be somewhere"),
])
def test_what_is_seen_is_compared_but_for_what_is_never_the_same(
        shown: tuple[str, ...], seen: list[str], alike: bool) -> None:
    assert (READER.differs(shown, seen) == "") == alike


def test_a_guide_is_read_block_by_block(tmp_path: Path) -> None:
    guide = tmp_path / "README.md"
    guide.write_text("```sh\napt install x\n```\n```console\n$ a \\\n  b\nout\n\n$ c\nGo on? [y/N]:"
                     " y\n```\n")
    first, second = READER.steps_of(guide)
    assert (first.line, first.command, first.shown) == (5, "a \\\n  b", ("out", ""))
    assert (second.command, second.shown) == ("c", ("Go on? [y/N]: y",))
    assert READER.ANSWER.match(second.shown[0])["answer"] == "y"

"""The help of every verb, held against tests/cli/help; UPDATE=1 rewrites it, then read the diff."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.cli.app import VERBS, build
from controller.cli.break_glass import MODULES as OF_GLASS
from controller.cli.replica import MODULES

FOLDER = Path(__file__).parent / "cli" / "help"
SECOND_WORDS = [f"{first} {name.rpartition('.')[2]}" for first, modules in (
    ("replica", MODULES), ("break-glass", OF_GLASS)) for name in modules]
FIRST_WORDS = ["replica", "break-glass"]


def help_of(*words: str) -> str:
    """Return the help text of a verb, 100 columns wide."""
    result = CliRunner().invoke(build(), [*words, "--help"], prog_name="hotsite",
                                env={"COLUMNS": "100", "HOTSITE_STATE": ""})
    assert result.exit_code == 0
    return "\n".join(line.rstrip() for line in result.output.splitlines()) + "\n"


@pytest.mark.parametrize("verb", ["", *VERBS, *FIRST_WORDS, *SECOND_WORDS])
def test_the_help_is_as_written_down(verb: str) -> None:
    text = help_of(*verb.split())
    path = FOLDER / f"{verb.replace(' ', '-') or 'hotsite'}.txt"
    if os.environ.get("UPDATE") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("verb", [*VERBS, *SECOND_WORDS])
def test_each_help_says_what_it_does_what_follows_examples_and_exit_statuses(verb: str) -> None:
    paragraphs = [" ".join(part.split()) for part in help_of(*verb.split()).split("\n\n")]
    sentence, consequences = paragraphs[1], paragraphs[2]
    assert sentence.endswith(".")
    assert len(sentence) <= 120
    assert len(consequences) > 40
    examples = next(part for part in paragraphs if part.startswith("Examples:"))
    assert f"`hotsite {verb}" in examples
    statuses = next(part for part in paragraphs if part.startswith("Exit status:"))
    assert re.search(r"\b0 [a-z]", statuses)


def test_there_is_a_help_for_each_verb_and_no_other() -> None:
    expected = {"hotsite", *VERBS, *FIRST_WORDS,
                *(one.replace(" ", "-") for one in SECOND_WORDS)}
    assert {path.stem for path in FOLDER.glob("*.txt")} == expected


def test_help_imports_nothing_that_it_does_not_need() -> None:
    code = ("import sys; from controller.cli.app import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\n"
            "sys.stderr.write(repr({name.partition('.')[0] for name in sys.modules}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          timeout=60)
    loaded = set(re.findall(r"'([a-z_0-9]+)'", done.stderr))
    assert loaded.isdisjoint({"pydantic", "rich", "asyncssh", "asyncio", "sqlite3", "opentelemetry",
                              "yaml12", "watchfiles"})

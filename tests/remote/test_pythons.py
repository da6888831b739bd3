"""The facts script on each Python that hosts have."""

import json
import subprocess
from pathlib import Path

import pytest

from controller.providers.linux.program import load_program
from controller.transport import resident

FOLDERS = (Path("/usr/bin"), Path("/usr/local/bin"),
           *sorted(Path.home().glob(".pyenv/versions/*/bin")))
QUESTION = json.dumps({"want": ["interfaces", "pools", "domains"], "known": {}}) + "\n"


def answer_of(minor: int) -> "subprocess.CompletedProcess[str]":
    """Ask the script, run by Python 3.`minor`."""
    python = next((str(path) for folder in FOLDERS
                   if (path := folder / f"python3.{minor}").exists()), None)
    if python is None:
        pytest.skip(f"Python 3.{minor} is not here")
    return subprocess.run(
        [python, *resident.ARGV[1:]], capture_output=True, text=True, check=False, timeout=120,
        input=resident.render_program(load_program("facts.py")) + QUESTION)


@pytest.mark.parametrize("minor", range(9, 15))
def test_it_answers(minor: int) -> None:
    done = answer_of(minor)
    assert done.stderr == ""
    assert json.loads(done.stdout)["sections"]["interfaces"].get("error") is None


@pytest.mark.parametrize("minor", [6, 8])
def test_an_older_one_says_so_in_one_line(minor: int) -> None:
    done = answer_of(minor)
    assert done.returncode == 1
    assert f"Python 3.{minor}." in done.stderr
    assert done.stderr.strip().endswith("is too old there: 3.9 or newer is needed")

"""The mover as hosts run it: one archive, old Pythons, missing libraries, plain errors."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mover.disks import MOVER, archive

__all__ = ["archive"]

WITHOUT_LIBRARIES = """
import ctypes, sys
real = ctypes.CDLL
def missing(name, *rest, **more):
    if name is not None and ("zstd" in name or "xxhash" in name):
        raise OSError(name + ": cannot open shared object file")
    return real(name, *rest, **more)
ctypes.CDLL = missing
sys.path.insert(0, sys.argv[1])
from mover.verbs import main
sys.exit(main(sys.argv[2:]))
"""


def ran(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python and return how it ended."""
    return subprocess.run([sys.executable, *map(str, argv)], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL)


def test_a_host_tells_what_it_can_compute(archive: Path) -> None:
    done = ran(archive, "probe")
    told = json.loads(done.stdout)
    assert done.returncode == 0
    assert told["algorithms"][-1] == "sha256-128"
    assert told["codecs"][-2:] == ["zlib", "none"]


def test_without_the_libraries_slower_ones_take_their_place(archive: Path) -> None:
    done = ran("-c", WITHOUT_LIBRARIES, archive, "probe")
    told = json.loads(done.stdout)
    assert (told["algorithms"], told["codecs"]) == (["sha256-128"], ["zlib", "none"])


@pytest.mark.parametrize(("words", "status", "sentence"), [
    (["fly"], 1, "there is no verb 'fly'"), ([], 1, "there is no verb ''"),
    (["send"], 1, "no request came")])
def test_what_cannot_be_done_is_one_json_line_and_an_exit_status(
        archive: Path, words: list[str], status: int, sentence: str) -> None:
    done = ran(archive, *words)
    assert done.returncode == status
    assert done.stdout == ""
    assert sentence in json.loads(done.stderr)["sentence"]


@pytest.mark.parametrize(("request_line", "sentence"), [
    ("nonsense", "not JSON"), ("[]", "not a JSON object"),
    ('{"sokcet": "x", "to": {}}', "sokcet"),
    ('{"socket": "x", "to": {}, "mode": "half"}', "mode is one of"),
    ('{"socket": "x", "to": {}, "mode": "scan"}', "needs the manifest"),
    ('{"socket": "x", "to": {}, "secret": "xyz"}', "not hexadecimal")])
def test_a_request_that_makes_no_sense_is_refused(
        archive: Path, request_line: str, sentence: str) -> None:
    done = subprocess.run([sys.executable, archive, "send"], input=request_line + "\n",
                          capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert sentence in json.loads(done.stderr)["sentence"]


@pytest.mark.parametrize("module", sorted(MOVER.rglob("*.py")), ids=lambda path: path.name)
def test_the_oldest_python_of_a_supported_host_can_read_it(module: Path) -> None:
    text = module.read_text()
    ast.parse(text, feature_version=(3, 9))
    assert "def " not in text or "from __future__ import annotations" in text, (
        "Python 3.9 evaluates annotations unless it is told not to")

"""A mover that was started in one term, and asked when another controller conducts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.providers.linux.archive import pack


class Attending:
    """A mover that attends, started by a controller in a term."""

    def __init__(self, folder: Path, term: str) -> None:
        path = folder / "mover.pyz"
        path.write_bytes(pack("mover"))
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(path), "attend"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "HOTSITE_TERM": term})
        self.hear()

    def hear(self) -> dict[str, Any]:
        """Return its next line."""
        assert self.process.stdout is not None
        said: dict[str, Any] = json.loads(self.process.stdout.readline())
        return said

    def ask(self) -> dict[str, Any]:
        """Ask it for something harmless, and return the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({
            "number": 1, "verb": "replica-show", "request": {"replicas": []}}) + "\n")
        self.process.stdin.flush()
        return self.hear()

    def end(self) -> None:
        """End it."""
        self.process.communicate()


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """Return the folder in which a node keeps its term: 7, of paris."""
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "term").write_text("7 paris/1\n")
    return folder


def test_it_answers_the_controller_that_conducts(tmp_path: Path, node: Path) -> None:
    mover = Attending(tmp_path, f"7 paris/1 {node}")
    assert "answer" in mover.ask()
    mover.end()


def test_it_answers_where_no_lease_is_declared(tmp_path: Path) -> None:
    mover = Attending(tmp_path, "")
    assert "answer" in mover.ask()
    mover.end()


@pytest.mark.parametrize("noted", ["8 milan/1\n", "7 milan/1\n"])
def test_it_refuses_the_controller_that_was_replaced_meanwhile(
        tmp_path: Path, node: Path, noted: str) -> None:
    mover = Attending(tmp_path, f"7 paris/1 {node}")
    assert "answer" in mover.ask()
    (node / "term").write_text(noted)
    failed = mover.ask()["failed"]
    assert (failed["status"], failed["sentence"]) == (
        1, f"milan/1 conducts in term {noted[0]}, and this controller had term 7")
    mover.end()


@pytest.mark.parametrize("noted", ["", "seven paris\n", None])
def test_a_term_that_cannot_be_read_refuses_for_now(
        tmp_path: Path, node: Path, noted: str | None) -> None:
    mover = Attending(tmp_path, f"7 paris/1 {node}")
    (node / "term").unlink()
    if noted is not None:
        (node / "term").write_text(noted)
    assert mover.ask()["failed"]["status"] == 2
    mover.end()

"""A failed lab test makes no other one fail, and the lab is not rebuilt endlessly."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFTEST = """
import sys

import pytest
from tests.lab.afresh import LIMIT, begins_anew, pytest_runtest_makereport, pytest_runtest_teardown

@pytest.fixture(scope="session")
def lab(request):
    sys.stdout.write(f"UP {begins_anew(request.session)}\\n")
    yield {"broken": False}
    sys.stdout.write("DOWN\\n")

@pytest.fixture(scope="module")
def converged(lab):
    assert not lab["broken"], "it inherits a failure"
    yield lab
    assert lab.get("removed") is None, "it cannot be taken down"
"""
ONE_FAILS = """
def test_that_is_well(converged): pass
def test_that_breaks_the_lab(converged):
    converged["broken"] = True
    assert False
def test_that_comes_next(converged): assert not converged["broken"]
def test_that_comes_after_it(converged): assert not converged["broken"]
"""
ONE_IS_NOT_TAKEN_DOWN = "def test_that_leaves_much(converged): converged['removed'] = 1"
NEXT_MODULE = "def test_of_another_module(converged): assert 'removed' not in converged"
ALL_FAIL = """
import pytest
@pytest.mark.parametrize("number", range(40))
def test_of_a_lab_that_never_works(lab, number): assert False
"""


def run(folder: Path, **modules: str) -> str:
    """Return what pytest says of some modules of tests."""
    (folder / "conftest.py").write_text(CONFTEST)
    for name, text in modules.items():
        (folder / f"test_{name}.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--rootdir",
         str(folder), str(folder)], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}).stdout


def test_only_the_one_that_fails_is_told(tmp_path: Path) -> None:
    said = run(tmp_path, one=ONE_FAILS, two=NEXT_MODULE)
    assert "1 failed, 4 passed" in said, said
    assert re.findall("UP (True|False)", said) == ["False", "True"]


def test_what_cannot_be_taken_down_is_told_once(tmp_path: Path) -> None:
    said = run(tmp_path, one=ONE_IS_NOT_TAKEN_DOWN, two=NEXT_MODULE)
    assert "2 passed, 1 error" in said, said


def test_a_lab_that_never_works_is_not_built_for_ever(tmp_path: Path) -> None:
    said = run(tmp_path, one=ALL_FAIL)
    assert "40 failed" in said, said
    assert said.count("UP") < 10

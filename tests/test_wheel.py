"""What is installed: the same bytes from the same sources, and nothing missing in it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("controller", "examples/talk-2007", "pyproject.toml", "README.md", "LICENSE")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
DIGESTS = """
from controller.providers.linux.archive import digest
from controller.providers.linux.program import load_program
import sys
sys.stdout.write(" ".join((digest("mover"), digest("guard"), *(
    str(len(load_program(name))) for name in ("facts.py", "watch.py", "witness/lease.py")))))
"""


def build(folder: Path, umask: int) -> tuple[Path, Path]:
    """Return wheel and sdist, built in a folder of its own from a copy of the sources."""
    for name in SOURCES:
        there = folder / "source" / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, there, ignore=LEFT_OUT, copy_function=shutil.copy)
        else:
            shutil.copy(ROOT / name, there)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"),
         str(folder / "source")], capture_output=True, text=True, check=False, umask=umask,
        env={name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"})
    assert done.returncode == 0, done.stdout + done.stderr
    wheel, = (folder / "dist").glob("*.whl")
    sdist, = (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Build once for all tests."""
    return build(tmp_path_factory.mktemp("one"), 0o022)


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into an empty environment; what it depends on is lent by this one."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", "--python",
                    str(folder), "install", "-q", "--no-index", "--no-deps", str(built[0])],
                   check=True)
    return folder


def run(installed: Path, folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of the environment in another folder than the checkout."""
    lent = sysconfig.get_path("purelib")
    return subprocess.run([str(installed / "bin" / words[0]), *words[1:]], cwd=folder, text=True,
                          capture_output=True, check=False,
                          env={"PATH": "/usr/bin:/bin", "PYTHONPATH": lent, "HOME": str(folder)})


def test_two_builds_give_the_same_bytes(built: tuple[Path, Path], tmp_path: Path) -> None:
    again = build(tmp_path, 0o077)
    assert [one.name for one in again] == [one.name for one in built]
    assert [one.read_bytes() for one in again] == [one.read_bytes() for one in built]


def test_every_source_is_in_both(built: tuple[Path, Path]) -> None:
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "controller").rglob("*")
               if path.is_file() and "__pycache__" not in path.parts}
    with zipfile.ZipFile(built[0]) as wheel:
        assert sources - set(wheel.namelist()) == set()
    with tarfile.open(built[1]) as sdist:
        assert sources - {name.partition("/")[2] for name in sdist.getnames()} == set()


def test_what_is_sent_to_hosts_is_whole(installed: Path, tmp_path: Path) -> None:
    from_wheel = run(installed, tmp_path, "python", "-c", DIGESTS)
    here = subprocess.run([sys.executable, "-c", DIGESTS], capture_output=True, text=True,
                          check=True, cwd=ROOT)
    assert from_wheel.stdout == here.stdout, from_wheel.stderr


def test_it_validates_and_prints_what_it_installs(installed: Path, tmp_path: Path) -> None:
    good = run(installed, tmp_path, "hotsite", "validate", str(ROOT / "examples/two-sites"))
    assert (good.returncode, good.stderr) == (0, "")
    unit = run(installed, tmp_path, "hotsite", "systemd", "/etc/hotsite/specs")
    assert f"ExecStart={installed}/bin/hotsite run " in unit.stdout
    assert run(installed, tmp_path, "hotsite", "schema", "out").returncode == 0
    assert len([*(tmp_path / "out").glob("*.json")]) == len([*(ROOT / "schemas").glob("*.json")])


def test_the_demo_finds_its_estate(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "hotsite", "demo", "--help")
    assert done.returncode == 0
    place = ("import controller.providers.simulated as s, pathlib, sys;"
             "sys.stdout.write(str(pathlib.Path(s.__file__).parent / 'talk-2007'))")
    found = Path(run(installed, tmp_path, "python", "-c", place).stdout)
    assert installed in found.parents
    assert run(installed, tmp_path, "hotsite", "validate", str(found)).returncode == 0

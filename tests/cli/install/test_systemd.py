"""The unit, completion and manual page: what their own programs say of them."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.cli.app import VERBS, build
from controller.cli.install.systemd import PLACES, Part
from controller.cli.install.unit import quoted
from tests.cli.shell import SPECS, Shell
from tests.cli.test_run import converged, play, until

UNPACKED = Path("/var/lib/hotsite-lab/cache/accounts")


def systemd(*words: str) -> Result:
    """Run `hotsite systemd`."""
    return CliRunner().invoke(build(), ["systemd", *words], prog_name="hotsite")


def program(name: str) -> str:
    """Return where a program is, or skip the test."""
    found = shutil.which(name) or next(
        (str(path) for folder in ("usr/bin", "bin") if (path := UNPACKED / folder / name).exists()),
        None)
    if found is None:
        pytest.skip(f"{name} is not here")
    return found


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = systemd("/etc/hotsite/my specs").stdout
    assert '/var/lib/hotsite "/etc/hotsite/my specs"\n' in text
    unit = tmp_path / "hotsite.service"
    unit.write_text("".join("ExecStart=/bin/true\n" if line.startswith("ExecStart=") else line
                            for line in text.splitlines(keepends=True)))
    done = subprocess.run([program("systemd-analyze"), "verify", "--man=no", str(unit)],
                          capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("word", "expected"), [
    ("specs", "specs"), ("a b", '"a b"'), ("50%", "50%%"), ("$HOME", "$$HOME"), ('"', '"\\""')])
def test_a_word_reaches_the_program_as_it_is(word: str, expected: str) -> None:
    assert quoted(word) == expected


def test_the_manual_page_is_well_formed_and_has_every_verb() -> None:
    text = systemd("--part", "man").stdout
    done = subprocess.run([program("mandoc"), "-T", "lint"], input=text, capture_output=True,
                          text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")
    for verb in VERBS:
        assert f'.SS "hotsite {verb}"' in text
    assert '.SS "hotsite replica verify"' in text


@pytest.mark.parametrize(("typed", "expected"), [
    (["pl"], ["plan"]), (["replica", "ve"], ["verify"]), (["plan", "--as"], ["--assume"]),
    (["--json", "stat"], ["status"]), (["replica", "list", "--js"], ["--json"])])
def test_bash_completes_verbs_and_options(tmp_path: Path, typed: list[str], expected: list[str]
                                          ) -> None:
    script = tmp_path / "completion"
    script.write_text(systemd("--part", "bash").stdout)
    words = " ".join(["hotsite", *typed])
    done = subprocess.run(
        ["bash", "-c", f"set -u; . {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)};"
         ' _hotsite; printf "%s\\n" "${COMPREPLY[@]}"'],
        capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
    assert done.stderr == ""


def test_zsh_reads_its_script(tmp_path: Path) -> None:
    script = tmp_path / "_hotsite"
    script.write_text(systemd("--part", "zsh").stdout)
    done = subprocess.run([program("zsh"), "-n", str(script)], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_reads_its_script(tmp_path: Path) -> None:
    script = tmp_path / "hotsite.fish"
    script.write_text(systemd("--part", "fish").stdout)
    libraries = next(UNPACKED.glob("usr/lib/*-linux-gnu"), Path("/nowhere"))
    done = subprocess.run([program("fish"), "-n", str(script)], capture_output=True, text=True,
                          check=False, env={**os.environ, "LD_LIBRARY_PATH": str(libraries)})
    assert (done.returncode, done.stderr) == (0, "")


def test_installing_twice_is_harmless_and_leaves_the_files_of_others_alone(tmp_path: Path) -> None:
    theirs = tmp_path / PLACES[Part.UNIT]
    theirs.parent.mkdir(parents=True)
    theirs.write_text("[Service]\nExecStart=/opt/hotsite\n")
    for _ in range(2):
        result = systemd("--install", "--root", str(tmp_path))
        assert result.exit_code == 1
        assert f"{theirs}: it is there and not ours" in result.stderr
    assert theirs.read_text() == "[Service]\nExecStart=/opt/hotsite\n"
    assert all((tmp_path / place).stat().st_mode & 0o777 == 0o644 for place in PLACES.values())
    theirs.unlink()
    assert systemd("--install", "--root", str(tmp_path)).exit_code == 0
    assert systemd("--install", "--root", str(tmp_path)).exit_code == 0
    assert not [*tmp_path.rglob("*.part")]


def test_the_service_manager_hears_of_the_start_each_decision_and_the_end(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        def hear() -> bool:
            while True:
                try:
                    heard.append(manager.recv(4096).decode())
                except BlockingIOError:
                    return "WATCHDOG=1" in heard

        async def scene() -> None:
            await until(hear)
        play(Shell(tmp_path / "state", converged), SPECS, scene)
        hear()
    assert heard[0] == "READY=1"
    assert heard[-1] == "STOPPING=1" or heard.index("STOPPING=1") > heard.index("WATCHDOG=1")

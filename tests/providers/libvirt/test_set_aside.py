"""The real shell renames files and renames them back, and never overwrites one."""

import subprocess
from pathlib import Path

import pytest

from controller.providers.libvirt.set_aside import DELETE, RENAME, YOUNG

SUFFIX = ".hotsite-removed-20261128T143000Z"


def rename(way: str, *paths: Path) -> int:
    return subprocess.run(["sh", "-c", RENAME, "sh", SUFFIX, way, *map(str, paths)],
                          capture_output=True, check=False).returncode


def named(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def test_files_are_set_aside_and_given_back_and_what_is_done_is_done(tmp_path: Path) -> None:
    one, other = tmp_path / "a disk", tmp_path / "-b"
    one.write_text("1")
    other.write_text("2")
    for _ in range(2):
        assert rename("aside", one, other, tmp_path / "never there") == 0
        assert sorted(tmp_path.iterdir()) == sorted([named(one), named(other)])
    for _ in range(2):
        assert rename("back", one) == 0
        assert one.read_text() == "1"


@pytest.mark.parametrize("way", ["aside", "back"])
def test_nothing_is_written_over(tmp_path: Path, way: str) -> None:
    one = tmp_path / "disk"
    one.write_text("new")
    named(one).write_text("old")
    assert rename(way, one) == 1
    assert (one.read_text(), named(one).read_text()) == ("new", "old")


def test_what_is_nowhere_is_not_given_back(tmp_path: Path) -> None:
    assert rename("back", tmp_path / "disk") == 1


def test_a_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    assert rename("aside", tmp_path / "disk") == 1
    assert (tmp_path / "disk").is_dir()


def test_what_is_young_by_the_hosts_own_clock_is_not_deleted_and_nothing_with_it(
        tmp_path: Path) -> None:
    one, other = tmp_path / "a disk", tmp_path / "-b"
    one.write_text("1")
    other.write_text("2")

    def delete(least_age_s: int) -> int:
        return subprocess.run(["sh", "-c", DELETE, "sh", str(least_age_s), one, other, "/none"],
                              capture_output=True, check=False).returncode

    assert delete(3600) == YOUNG
    assert one.exists()
    assert other.exists()
    assert delete(0) == 0
    assert list(tmp_path.iterdir()) == []
    assert delete(0) == 0

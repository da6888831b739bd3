"""The archive is compiled once per host, and bytecode that others may write is never loaded."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.mover.disks import MOVER, archive

__all__ = ["archive"]
NEW = "import sys\n\n\ndef main(words):\n    sys.stdout.write('new')\n"


def probe(place: Path) -> str:
    """Run the least verb of an archive."""
    done = subprocess.run([sys.executable, "-I", "-S", place, "probe"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def placed(archive: Path, folder: Path, mode: int) -> Path:
    """Put the archive into a folder of its own."""
    folder.mkdir()
    folder.chmod(mode)
    return Path(shutil.copy(archive, folder / "mover.pyz"))


def kept_beside(place: Path) -> list[Path]:
    """Return what was kept beside an archive."""
    return [path for path in place.parent.iterdir() if path != place]


def test_the_second_run_finds_what_the_first_compiled(tmp_path: Path, archive: Path) -> None:
    place = placed(archive, tmp_path / "own", 0o700)
    first = probe(place)
    (kept,) = kept_beside(place)
    assert kept.name == f"mover.pyz.{sys.implementation.cache_tag}"
    written_ns = kept.stat().st_mtime_ns
    assert probe(place) == first
    assert kept_beside(place) == [kept]
    assert kept.stat().st_mtime_ns == written_ns


def test_what_was_made_of_another_archive_is_not_believed(tmp_path: Path, archive: Path) -> None:
    place = placed(archive, tmp_path / "own", 0o700)
    probe(place)
    with zipfile.ZipFile(place, "w") as packed:
        packed.writestr("__main__.py", (MOVER / "__main__.py").read_text())
        packed.writestr("mover/__init__.py", "")
        packed.writestr("mover/bytecode.py", (MOVER / "bytecode.py").read_text())
        packed.writestr("mover/verbs.py", NEW)
    assert probe(place) == "new"


def test_what_was_kept_and_torn_is_made_anew(tmp_path: Path, archive: Path) -> None:
    place = placed(archive, tmp_path / "own", 0o700)
    first = probe(place)
    (kept,) = kept_beside(place)
    whole = kept.read_bytes()
    for torn in (b"", whole[:1000], whole[:-1] + bytes([whole[-1] ^ 1])):
        kept.write_bytes(torn)
        assert probe(place) == first
        assert kept.read_bytes() == whole


def test_in_a_folder_of_others_nothing_is_kept_or_believed(tmp_path: Path, archive: Path) -> None:
    place = placed(archive, tmp_path / "shared", 0o777)
    (place.parent / f"mover.pyz.{sys.implementation.cache_tag}").write_bytes(b"not ours")
    probe(place)
    assert [path.read_bytes() for path in kept_beside(place)] == [b"not ours"]

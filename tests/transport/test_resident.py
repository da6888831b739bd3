"""The resident helper reads file names as they are, whatever the locale of its account."""

import subprocess
from pathlib import Path

import pytest

from controller.transport import resident

LOOK = """
import os, sys
assert sys.flags.utf8_mode
sys.stdout.write(f"{os.listdir('.') == ['mémoire']} {os.path.isdir('mémoire')}")
"""


@pytest.mark.parametrize("words", [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "POSIX"}, {"LANG": "de_DE"},
                                   {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_name_is_a_name_in_every_language(tmp_path: Path, words: dict[str, str]) -> None:
    (tmp_path / "mémoire").mkdir()
    done = subprocess.run(
        resident.ARGV, input=resident.render_program(LOOK).encode(),
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", **words}, cwd=tmp_path, capture_output=True,
        check=False)
    assert (done.stdout, done.stderr) == (b"True True", b"")

"""Which changes of files wake the loop."""

from pathlib import Path

import pytest
from watchfiles import Change

from controller.source.folder import SpecFilter, folder_of


@pytest.mark.parametrize(("name", "matters"), [
    ("a.yaml", True), ("sub/b.yml", True), ("templates/t.xml", True), (".git/index", False),
    ("sub/.a.yaml.swp", False), ("a.yaml~", False),
])
def test_a_change_matters_when_the_loader_would_look(name: str, *, matters: bool) -> None:
    root = Path("/srv/.hidden/specs")
    assert SpecFilter(root)(Change.modified, str(root / name)) == matters


def test_of_one_file_the_folder_is_watched(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    assert folder_of(tmp_path / "a.yaml") == tmp_path.resolve()

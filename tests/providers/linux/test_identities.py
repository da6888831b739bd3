"""A file is the same file under every path that leads to it."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.providers.linux.test_images import create, over, traits_of


def identities_of(*paths: Path) -> dict[str, str]:
    found: dict[str, str] = import_module("domains").identities_of({str(path) for path in paths})
    return found


def volumes_of(folder: Path) -> dict[str, Any]:
    return {one["name"]: one for one in import_module("pools").volumes_of(str(folder))}


def test_links_lead_to_the_file_that_lies_in_the_pool(tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    pool.mkdir()
    image, other = create(pool / "sql-vda.qcow2"), create(pool / "web-vda.qcow2")
    link, second = tmp_path / "link.img", tmp_path / "second.img"
    link.symlink_to(image)
    os.link(image, second)
    found = identities_of(image, other, link, second, tmp_path / "nowhere")
    assert found[str(link)] == found[str(second)] == found[str(image)] != found[str(other)]
    assert str(tmp_path / "nowhere") not in found
    assert volumes_of(pool)["sql-vda.qcow2"]["inode"] == found[str(link)]


def test_what_lies_below_an_overlay_is_told(tmp_path: Path) -> None:
    base = create(tmp_path / "sql-vda.qcow2")
    top = over(tmp_path / "rescue.qcow2", base, "qcow2")
    assert traits_of(top)["layers"] == [str(base)]

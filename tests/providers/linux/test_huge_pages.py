"""Huge pages as the kernel counts them: of every size, less those that others reserved."""

import json
import subprocess
import sys
from pathlib import Path

from tests.providers.linux.conftest import REMOTE


def test_huge_pages_of_every_size_are_counted_without_what_others_were_promised(
        tmp_path: Path) -> None:
    for size, (nr, free, resv) in {"hugepages-2048kB": (8, 6, 2), "hugepages-1048576kB": (2, 1, 0),
                                   "hugepages-64kB": (0, 0, 0)}.items():
        for name, pages in (("nr", nr), ("free", free), ("resv", resv)):
            file = tmp_path / size / f"{name}_hugepages"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"{pages}\n")
    code = (f"import sys; sys.path.insert(0, {str(REMOTE)!r}); import facts, json;"
            f" sys.stdout.write(json.dumps([facts.huge_pages({str(tmp_path)!r}),"
            f" facts.huge_pages({str(tmp_path / 'none')!r})]))")
    told = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True,
                          check=True).stdout
    assert json.loads(told) == [
        {"huge_bytes": (2 << 30) + (16 << 20), "huge_free_bytes": (1 << 30) + (8 << 20)},
        {"huge_bytes": 0, "huge_free_bytes": 0}]

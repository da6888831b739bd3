"""The page's files: all from here, those of others unchanged, the two searches equal."""

import hashlib
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from controller.web.search import means

STATIC = Path(__file__).parents[2] / "controller" / "web" / "static"
TEXTS = sorted(path for path in STATIC.iterdir() if path.suffix in {".js", ".css", ".svg"})
ROWS: list[dict[str, Any]] = [
    {"name": "sql-prod", "level": "late", "power": "running", "host": "esx1", "site": "paris",
     "policy": "gold", "networks": ["dmz", "lan"]},
    {"name": "web", "level": "fine", "power": "shutoff", "host": None, "site": None,
     "policy": None, "networks": []},
    {"name": "host:odd", "level": "unknown", "site": "milan"}]
SEARCHES = ["", "sql", "SQL prod", "host:esx", "host:", "net:dmz is:late", "is:shutoff", "site:mil",
            "policy:gold web", "odd", "none:x", ":", "  web  ", "host:odd", "toString:x",
            "constructor:"]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|url\((?!inter\.woff2)", text)
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function",
                         text)


def test_files_of_others_are_as_they_came() -> None:
    for one in tomllib.loads((STATIC / "VENDORED.toml").read_text()).values():
        assert hashlib.sha256((STATIC / one["file"]).read_bytes()).hexdigest() == one["sha256"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the page's own"
                    " search cannot be compared with the API's")
def test_the_pages_search_means_what_the_apis_means(tmp_path: Path) -> None:
    (tmp_path / "search.mjs").write_text((STATIC / "search.js").read_text())
    (tmp_path / "ask.mjs").write_text(
        'import { means } from "./search.mjs";\n'
        f"const rows = {json.dumps(ROWS)}, searches = {json.dumps(SEARCHES)};\n"
        "console.log(JSON.stringify(searches.map((words) => rows.map((row) =>"
        " means(row, words)))));\n")
    told = subprocess.run(["node", tmp_path / "ask.mjs"], capture_output=True, text=True,
                          check=True).stdout
    assert json.loads(told) == [[means(row, words) for row in ROWS] for words in SEARCHES]

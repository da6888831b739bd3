"""The dashboard for Grafana is as its program writes it, and asks only for what is shown."""

import json
import re
import subprocess
import sys
from pathlib import Path
from shutil import copy
from typing import Any

import pytest

from tests.telemetry.test_alerts import shown
from tests.telemetry.test_alerts_fire import promtool

FOLDER = Path(__file__).parent.parent.parent / "examples/alerts"


def panels() -> list[dict[str, Any]]:
    """Every panel that shows something."""
    found = json.loads((FOLDER / "grafana.json").read_text())["panels"]
    return [one for one in found if one["type"] != "row"]


def test_the_dashboard_is_as_its_program_writes_it(tmp_path: Path) -> None:
    program = copy(FOLDER / "make-dashboard", tmp_path)
    subprocess.run([sys.executable, program], check=True)
    assert (tmp_path / "grafana.json").read_text() == (FOLDER / "grafana.json").read_text()


@pytest.fixture(scope="module")
def series() -> set[str]:
    """The names of a real scrape."""
    return shown()


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: str(panel["title"]))
def test_a_panel_asks_for_series_that_are_shown(panel: dict[str, Any], series: set[str]) -> None:
    (target,) = panel["targets"]
    wanted = set(re.findall(r"hotsite_\w+", target["expr"]))
    assert wanted
    assert wanted <= series


def test_every_series_has_its_place_on_the_dashboard(series: set[str]) -> None:
    asked = {name for panel in panels() for name in re.findall(
        r"hotsite_\w+", panel["targets"][0]["expr"])}
    families = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in series}
    assert families - {re.sub(r"_(bucket|count)$", "", name) for name in asked} == set()


def test_no_two_panels_lie_on_one_another() -> None:
    taken = [(x, y) for panel in panels() for place in [panel["gridPos"]]
             for x in range(place["x"], place["x"] + place["w"])
             for y in range(place["y"], place["y"] + place["h"])]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_prometheus_itself_understands_every_expression(tmp_path: Path) -> None:
    tool = promtool()
    rules = [{"record": f"panel:{number}", "expr": panel["targets"][0]["expr"]}
             for number, panel in enumerate(panels())]
    path = tmp_path / "rules.json"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    ran = subprocess.run([tool, "check", "rules", str(path)], capture_output=True, text=True,
                         timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr

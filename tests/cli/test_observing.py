"""What an operator sees of an estate that is only observed: what it is, what differs, no change."""

from pathlib import Path
from shutil import copytree

import pytest

from controller.reconcile.inspect.loop_status import LoopStatus
from tests.cli.shell import SPECS, Shell
from tests.cli.test_verbs import bare, converged


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """Return the lab's specs, only observed."""
    copytree(SPECS, tmp_path / "specs")
    estate = tmp_path / "specs/estate/lab.yaml"
    estate.write_text(estate.read_text().replace("spec:\n", "spec:\n  manage: observe\n", 1))
    return tmp_path / "specs"


def test_the_first_line_says_what_is_only_observed_and_the_plan_is_empty(
        tmp_path: Path, specs: Path) -> None:
    shell = Shell(tmp_path / "state", converged)
    planned = shell("plan", str(specs))
    assert planned.exit_code == 0, planned.output
    lines = planned.output.splitlines()
    assert planned.output.startswith(
        "Everything is observed only, because Estate/lab says `manage: observe` at")
    assert lines[-1].startswith("No change: the estate is as revision")


def test_what_differs_is_shown_and_nothing_is_applied(tmp_path: Path, specs: Path) -> None:
    shell = Shell(tmp_path / "state", converged)
    assert shell("plan", str(specs)).exit_code == 0
    assert shell.estate is not None
    shell.estate.command("kill paris-1 sql")
    for verb in (("plan",), ("apply", "--yes")):
        result = shell(verb[0], str(specs), *verb[1:])
        assert result.exit_code == 0, result.output
        assert "would be changed if managed: sql is shut off on paris-1" in " ".join(
            result.output.split())
    domain = shell.estate.world.node("paris-1").domains["sql"]
    assert not domain.state.active


def test_nothing_is_made_where_nothing_is(tmp_path: Path, specs: Path) -> None:
    shell = Shell(tmp_path / "state", bare)
    applied = shell("apply", str(specs), "--yes")
    assert applied.exit_code == 0, applied.output
    assert shell.estate is not None
    assert not any(node.domains for node in shell.estate.world.nodes.values())


def test_status_says_what_is_only_observed_above_its_last_line() -> None:
    beat = {"at": 1.0, "plan": {"summary": "no change at r1", "observing": "everything is"}}
    assert LoopStatus(1.0, beat, (), (), ()).plan_lines() == [
        "everything is", "plan: no change at r1"]

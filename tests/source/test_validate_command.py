"""`hotsite validate` and `hotsite schema` as people call them."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from controller.cli import schema, validate
from controller.source.schema import render_schemas

ESTATE = "kind: Estate\nmetadata: {name: e}\nspec: {ssh: {keyFile: /k, knownHosts: /h}}\n"


def call(module: object, *words: str) -> Result:
    """Run one verb by itself."""
    app = typer.Typer()
    app.command()(module.command)
    return CliRunner().invoke(app, words)


def test_valid_specs_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ESTATE)
    told = call(validate, str(tmp_path))
    assert told.exit_code == 0
    assert "valid: 1 Estate (revision " in told.stdout


def test_invalid_specs_are_told_with_paths_that_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ESTATE.replace("ssh", "shs"))
    told = call(validate, str(tmp_path))
    assert told.exit_code == 4
    assert told.stdout == ""
    assert told.stderr.splitlines()[-2:] == [
        f"{tmp_path}/a.yaml:3:8: unknown field `shs`: write `ssh`, or remove it",
        f"{tmp_path}: invalid: 2 problems"]


def test_programs_get_json(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ESTATE)
    assert json.loads(call(validate, str(tmp_path), "--json").stdout)["objects"] == {"Estate": 1}
    (tmp_path / "a.yaml").write_text("kind: Site")
    told = call(validate, str(tmp_path), "--json")
    assert told.exit_code == 4
    assert json.loads(told.stdout)["valid"] is False


def test_schemas_are_written_once(tmp_path: Path) -> None:
    told = call(schema, str(tmp_path / "s"), "--json")
    assert set(json.loads(told.stdout)["changed"]) == set(render_schemas())
    assert "already current" in call(schema, str(tmp_path / "s")).stdout


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("")
    told = call(schema, str(tmp_path / "s"))
    assert told.exit_code == 1
    assert "choose another folder" in told.stderr

"""The schemas in the repository are those of the models; UPDATE=1 writes them anew."""

import json
import os
from pathlib import Path

import pytest

from controller.model.desired import KINDS
from controller.source.schema import render_schemas, write_schemas

FOLDER = Path(__file__).parent.parent / "schemas"

if os.environ.get("UPDATE") == "1":
    write_schemas(FOLDER)


@pytest.mark.parametrize("name", render_schemas())
def test_the_schema_is_current(name: str) -> None:
    assert (FOLDER / name).read_text() == render_schemas()[name], "run: hotsite schema"


def test_there_is_no_schema_without_a_kind() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(render_schemas())
    assert len(render_schemas()) == len(KINDS) + 1


def test_units_are_text_with_a_unit_in_schemas_too() -> None:
    limits = json.loads(render_schemas()["estate.json"])["$defs"]["LimitsSpec"]["properties"]
    assert limits["factAge"]["default"] == "30s"
    assert limits["storm"]["default"] == "20%"
    assert all(isinstance(field["default"], str) for field in limits.values()
               if field["type"] == "string")

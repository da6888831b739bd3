"""The JSON schemas of the specs, for editors: what pydantic checks, with descriptions."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.alias_generators import to_snake
from pydantic.json_schema import GenerateJsonSchema

from controller.model.desired import KINDS
from controller.model.units import render_duration, render_size

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def render_schemas() -> Mapping[str, str]:
    """Return the text of every schema file by its name; `spec.json` takes any of the kinds."""
    schemas = {f"{to_snake(kind)}.json": render_schema(kind) for kind in KINDS}
    files = [f"{to_snake(kind)}.json" for kind in KINDS]
    anything = {"$schema": DIALECT, "title": "hotsite specs", "oneOf": [
        {"$ref": file} for file in files]}
    return schemas | {"spec.json": render(anything)}


def render_schema(kind: str) -> str:
    """Return the schema of one kind; `kind` itself is required, as the loader has it."""
    schema = KINDS[kind].model_json_schema(by_alias=True, schema_generator=NoTitles)
    schema["required"] = sorted({*schema["required"], "kind"})
    for node in objects(schema):
        speak_units(node)
    return render({"$schema": DIALECT, **schema})


def objects(node: object) -> Iterator[dict[str, Any]]:
    """Yield every JSON object of a schema."""
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(item)
    if isinstance(node, dict):
        yield node


def speak_units(node: dict[str, Any]) -> None:
    """Write a default as a person would; leave it out if it is a structure."""
    default, pattern = node.get("default"), str(node.get("pattern", ""))
    if isinstance(default, dict | list):
        del node["default"]
    elif node.get("type") == "string" and isinstance(default, int | float):
        if "GiB" in pattern:
            node["default"] = render_size(int(default))
        else:
            node["default"] = f"{default * 100:g}%" if "%" in pattern else render_duration(default)


def render(schema: Mapping[str, Any]) -> str:
    """Return JSON text that differs only where the schema differs."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


class NoTitles(GenerateJsonSchema):
    """Leaves out titles that only repeat the name of the field."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Return no: the name of the field says it."""
        del schema
        return False


def write_schemas(folder: Path) -> list[str]:
    """Write every schema into `folder` and return the names of those that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in render_schemas().items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            changed.append(name)
    return changed

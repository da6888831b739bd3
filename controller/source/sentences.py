"""Turn pydantic's errors into sentences: what is wrong, and what to write instead."""

import re
import types
from collections.abc import Iterable, Mapping
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from controller.model.desired import KINDS
from controller.model.document import API_VERSION
from controller.model.units import DURATIONS, SIZES, render_duration, render_size
from controller.source.positions import Path
from controller.source.problems import Chunk, Finding, suggestion

EXAMPLES: Mapping[str, str] = {
    "name": "sql", "site": "paris", "twin": "milan", "address": "10.77.0.11", "memory": "2GiB",
    "size": "40GiB", "mac": "52:54:00:12:34:56", "network": "office", "vlan": "200",
    "sites": "[paris, milan]", "between": "[paris, milan]", "rpo": "5m", "pool": "default",
    "metadata": "{name: sql}", "keyFile": "/etc/hotsite/id_ed25519", "vrid": "20",
    "knownHosts": "/etc/hotsite/known_hosts", "ports": "[{name: h1, host: paris-1}]",
    "until": "2026-11-23T06:00:00Z", "by": "alice", "why": "new disks", "days": "[sat, sun]",
    "start": '"22:00"', "duration": "4h", "effect": "deny", "every": "12", "subnet": "10.2.0.0/24",
    "url": "https://10.79.0.11", "credentials": "{file: /etc/hotsite/bmc.json}", "cpus": "2",
    "gateway": "{address: 10.2.0.254, vrid: 20}", "path": "/var/lib/libvirt/images",
    "link": "metro/1", "host": "paris-1",
}
SHAPES: Mapping[str, str] = {
    "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
    "mapping_type": "a mapping", "tuple_type": "a list", "list_type": "a list",
    "int_type": "a whole number", "int_from_float": "a whole number",
    "int_parsing": "a whole number", "int_parsing_size": "a smaller number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a number with an end",
    "bool_type": "`true` or `false`", "bool_parsing": "`true` or `false`", "string_type": "text",
    "string_unicode": "text of whole characters",
    "ip_v4_network": "a subnet such as 10.2.0.0/24", "ip_v6_network": "a subnet such as fd00::/64",
}
BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("at least", "ge"), "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"), "less_than": ("less than", "lt"),
}
PATTERNS: Mapping[str, str] = {
    "metadata.name": "small letters, digits, `-` and `.`, at most 63, first and last a letter or"
                     " digit",
    "url": "an address that begins with https:// and holds no password",
    "mac": "six pairs of hexadecimal digits such as 52:54:00:12:34:56",
    "link": "the link and the number of its member, such as metro/1",
    "start": 'a time of day in quotes, such as "22:00"',
    "path": "a path that begins with /", "file": "a path that begins with /",
    "uplinks": "an interface of at most 15 letters, digits, `.`, `_` and `-`",
    "bridge": "a bridge name of at most 15 letters, digits, `.`, `_` and `-`",
    "address": "a host name or an IP address", "replicationAddress": "a host name or an IP address",
}


def explain_errors(chunk: Chunk, raw: object, errors: Iterable[ErrorDetails]) -> list[Finding]:
    """Return a finding for each of pydantic's errors about the document `raw`."""
    told: dict[tuple[Path, bool], Finding] = {}
    for error in errors:
        kind = error["type"]
        missing = kind == "missing"
        path, key = clean(raw, error["loc"], keep_last=missing)
        at_key = kind == "extra_forbidden" or key
        shown = path[:-1] if missing else path
        finding = Finding(chunk, shown, sentence(raw, path, error), at_key)
        told.setdefault((path, at_key), finding)
    return list(told.values())


def clean(raw: object, loc: tuple[str | int, ...], *, keep_last: bool) -> tuple[Path, bool]:
    """Return pydantic's `loc` without the steps that name types, and whether it means a key."""
    path: list[str | int] = []
    at: Any = raw
    for depth, step in enumerate(loc):
        last = depth == len(loc) - 1
        in_list = isinstance(at, list) and isinstance(step, int) and step < len(at)
        if in_list or (isinstance(at, dict) and step in at):
            at = at[step]
        elif not (last and keep_last):
            continue
        path.append(step)
    return tuple(path), bool(loc) and loc[-1] == "[key]"


def sentence(raw: object, path: Path, error: ErrorDetails) -> str:
    """Return what is wrong with the field at `path` and what to write."""
    field = name_of(path)
    if error["type"] == "extra_forbidden":
        return unknown_field(raw, path)
    if error["type"] == "missing":
        return f"`{field}` is missing: add {example(field)}"
    value: Any = raw
    for step in path:
        value = value[step]
    return wrong_value(path, field, error, value)


def name_of(path: Path) -> str:
    """Return the name of the field at `path`, as a person would say it."""
    field = str(next((step for step in reversed(path) if isinstance(step, str)), "document"))
    return f"{field}[{path[-1]}]" if path and isinstance(path[-1], int) else field


def wrong_value(path: Path, field: str, error: ErrorDetails, value: object) -> str:
    """Return what is wrong with the value of a known field."""
    kind, context = error["type"], error.get("ctx", {})
    if kind in {"literal_error", "enum"}:
        return f"`{field}: {shown(value)}` is not known: {choose(field, value, context)}"
    if kind == "string_pattern_mismatch":
        return f"`{field}: {shown(value)}` is not valid: write {pattern(path, field)}"
    if kind in BOUNDS:
        word, bound = BOUNDS[kind]
        return f"`{field}` is out of range: write {word} {limit(context[bound], value)}"
    if kind in {"too_short", "too_long"}:
        return length(field, kind, context, value)
    if kind == "value_error":
        return f"`{field}`: {context['error']}"
    return wrong_type(field, kind, value, error["msg"])


def wrong_type(field: str, kind: str, value: object, message: str) -> str:
    """Return what is wrong with a value of another type than the field's."""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"`{field}` must be text, and YAML reads this as {type_of(value)}: put it in quotes"
    wanted = SHAPES.get(kind)
    if wanted is None:
        return f"`{field}: {shown(value)}` is not valid ({message}): write {example(field)}"
    got = f"`{shown(value)}`" if isinstance(value, str) else type_of(value)
    write = example(field) if field in EXAMPLES else wanted
    if kind.startswith("int") and isinstance(value, str) and value.isascii() and value.isdigit():
        write = f"`{field}: {int(value)}`"
    return f"`{field}` must be {wanted}, not {got}: write {write}"


def type_of(value: object) -> str:
    """Return what YAML made of a value, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    return "a mapping" if isinstance(value, dict) else "a list"


def shown(value: object) -> str:
    """Return a value as it may be shown in a sentence: short, one line, no control characters."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, dict | list) or value is None:
        text = type_of(value)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= 60 else text[:57] + "..."


def limit(bound: float, value: object) -> str:
    """Return a bound in the unit of the value that is beyond it."""
    unit = str(value).lstrip("0123456789. ")
    if unit in DURATIONS:
        return render_duration(bound) if bound else "0s"
    if unit in SIZES:
        return render_size(int(bound))
    return f"{bound * 100:g}%" if unit == "%" else f"{bound:g}"


def example(field: str) -> str:
    """Return the field with a valid value."""
    return f"`{field}: {EXAMPLES[field]}`" if field in EXAMPLES else f"`{field}:`"


def pattern(path: Path, field: str) -> str:
    """Return in words what text a field takes."""
    if path[-2:] == ("metadata", "name") or field in {"site", "host", "twin", "network", "pool",
                                                      "protection", "sites", "between", "members"}:
        return PATTERNS["metadata.name"]
    if field == "name":
        if "disks" in path:
            return "a device such as vda"
        return PATTERNS["bridge"] if "ports" in path else PATTERNS["metadata.name"]
    return PATTERNS.get(field, f"plain text on one line, such as {example(field)}")


def choose(field: str, value: object, context: Mapping[str, Any]) -> str:
    """Return which of the allowed words to write."""
    if field == "apiVersion":
        return f"write `{API_VERSION}` or leave it out"
    words = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    if field == "power" and isinstance(value, bool):
        return f"write `{'on' if value else 'off'}`"
    return suggestion(str(value), words)


def length(field: str, kind: str, context: Mapping[str, Any], value: object) -> str:
    """Return what is wrong with a list of the wrong length."""
    bound = context["min_length" if kind == "too_short" else "max_length"]
    count = len(value) if isinstance(value, list | dict | str) else 0
    word = "at least" if kind == "too_short" else "at most"
    held = f"holds {count}" if count else "is empty"
    return f"`{field}` {held}: write {word} {bound}, such as {example(field)}"


def unknown_field(raw: object, path: Path) -> str:
    """Return what to write instead of the field at the end of `path`."""
    field = str(path[-1])
    if field == "<<":
        return "YAML 1.2 has no merge keys: write the fields out"
    known = fields_at(raw, path[:-1])
    if not isinstance(path[-1], str):
        return f"unknown field `{field}`: put it in quotes if it is a name, or remove it"
    if len(path) == 1 and isinstance(raw, dict) and field in fields_at(raw, ("spec",)):
        return f"`{field}` stands too far left: write it below `spec:`"
    return f"unknown field `{shown(field)}`: {suggestion(field, known)}, or remove it"


def fields_at(raw: object, path: Path) -> list[str]:
    """Return the fields that the model knows at `path` of a document."""
    kind = raw.get("kind") if isinstance(raw, dict) else None
    model: type[BaseModel] | None = KINDS.get(kind) if isinstance(kind, str) else None
    for step in path:
        if isinstance(step, str) and model is not None:
            model = model_below(model, step)
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def model_below(model: type[BaseModel], alias: str) -> type[BaseModel] | None:
    """Return the model that the field `alias` holds, one or many of; None when it holds none."""
    for name, field in model.model_fields.items():
        if (field.alias or name) == alias:
            return model_in(field.annotation)
    return None


def model_in(annotation: object) -> type[BaseModel] | None:
    """Return the first model inside a type such as `tuple[DiskSpec, ...]` or `BmcSpec | None`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    if get_origin(annotation) in {tuple, list, Union, types.UnionType}:
        return next(filter(None, map(model_in, get_args(annotation))), None)
    return None

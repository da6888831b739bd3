"""Specs in which an object was renamed by a commit."""

from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from tests.plan import builders as b


def called(old: Any, kind: str, former: str, name: str) -> Any:
    """Return specs in which one object, wherever it is named, has another name."""
    found = replace(old, **{
        field: {name if field == kind and key == former else key: _walk(one, former, name)
                for key, one in getattr(old, field).items()} for field in b.FIELDS.values()})
    document = getattr(found, kind)[name]
    getattr(found, kind)[name] = document.model_copy(update={
        "spec": document.spec.model_copy(update={"formerly": (former,)})})
    return found


def _walk(value: Any, former: str, name: str) -> Any:
    if isinstance(value, BaseModel):
        return value.model_copy(update={
            field: _walk(getattr(value, field), former, name) for field in value.model_fields_set})
    if isinstance(value, tuple):
        return tuple(_walk(one, former, name) for one in value)
    return name if value == former and type(value) is str else value

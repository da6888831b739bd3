"""Turn the facts script's answer into facts, and facts into the text that outlives a restart."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from controller.model.facts import (
    Absent,
    BridgeFacts,
    Capabilities,
    DomainFacts,
    Fact,
    Hardware,
    InterfaceFacts,
    Known,
    NodeFacts,
    PoolFacts,
    Unknown,
)
from controller.model.replica import Leftover, ReplicaFacts

SHAPES: Final[Mapping[str, Any]] = {
    "hardware": Hardware,
    "domains": dict[str, DomainFacts],
    "pools": dict[str, PoolFacts],
    "bridges": dict[str, BridgeFacts],
    "replicas": dict[str, ReplicaFacts],
    "leftovers": tuple[Leftover, ...],
    "interfaces": dict[str, InterfaceFacts],
    "capabilities": Capabilities,
}
LATER: Final = frozenset({"replicas", "leftovers", "interfaces", "capabilities"})
"""Parts that texts of older versions lack; what they do not say is unknown."""


class Section(BaseModel):
    """One part of an answer: a text, or why there is none."""

    model_config = ConfigDict(frozen=True)

    digest: str | None = None
    text: str | None = None
    same: bool = False
    """The text is the one that the asker named by its digest."""
    error: str | None = None
    absent: bool = False


class Answer(BaseModel):
    """What the facts script said; times are the node's own."""

    model_config = ConfigDict(frozen=True)

    began: float
    now: float
    boot_id: str
    hardware: Hardware
    versions: dict[str, str]
    sections: dict[str, Section]
    warnings: dict[str, str] = {}


def parse_answer(text: str) -> Answer:
    """Return the facts script's answer.

    Errors: ValueError with a sentence.
    """
    try:
        return Answer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        raise ValueError(f"{place or 'the line'}: {first['msg']}") from error


@cache
def shape(part: str) -> TypeAdapter[Any]:
    """Return what turns one part of a node's facts into plain values and back."""
    return TypeAdapter(SHAPES[part])


def node_facts_to_json(facts: NodeFacts) -> str:
    """Return facts as text for the store, without what changes by itself.

    Two polls of a node on which nothing happened give the same text: load, free memory, clock and
    the times of observation are left out.
    """
    return json.dumps({
        "name": facts.name, "boot_id": facts.boot_id, "versions": dict(facts.versions),
        **{part: fact_to_plain(part, getattr(facts, part)) for part in SHAPES},
    }, separators=(",", ":"), sort_keys=True)


def node_facts_from_json(text: str, at: float) -> NodeFacts:
    """Return the facts that were written at `at`.

    Errors: ValueError where the text is not one that `node_facts_to_json` wrote.
    """
    try:
        plain = json.loads(text)
        told = {**{part: {"unknown": True} for part in LATER}, **plain}
        parts: dict[str, Any] = {part: fact_from_plain(part, told[part], at) for part in SHAPES}
        return NodeFacts(name=plain["name"], boot_id=plain["boot_id"], clock_offset_s=0.0,
                         versions=plain["versions"], **parts)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the last known facts are not understood: {error!r}") from error


def fact_to_plain(part: str, fact: Fact[Any]) -> dict[str, Any]:
    """Return one fact as plain values; what is unknown is what was last known."""
    if isinstance(fact, Absent):
        return {"absent": True}
    if isinstance(fact, Unknown) and fact.last is None:
        return {"unknown": True}
    value = fact.value if isinstance(fact, Known) else fact.last
    if isinstance(value, Hardware):
        value = replace(value, load_1m=0.0, memory_available_bytes=0)
    plain = shape(part).dump_python(value, mode="json")
    return {"known" if isinstance(fact, Known) else "last": plain}


def fact_from_plain(part: str, plain: Mapping[str, Any], at: float) -> Fact[Any]:
    """Return one fact from plain values."""
    if "known" in plain:
        return Known(shape(part).validate_python(plain["known"]), at)
    if "absent" in plain:
        return Absent(at)
    last = shape(part).validate_python(plain["last"]) if "last" in plain else None
    return Unknown("it was unknown before the controller started again", at, last,
                   None if last is None else at)

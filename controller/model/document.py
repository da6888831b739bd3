"""The envelope around every spec: kind, metadata, spec. Frozen, and refusing unknown fields."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

API_VERSION = "hotsite/v1"

Name = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$", strict=True),
]


Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", strict=True)]
"""Words for people on one line: nothing in it can drive a terminal."""

Label = Annotated[str, StringConstraints(
    pattern=r"^[^\x00-\x1f\x7f-\xa0\u00AD\u2000-\u200F\u2028-\u202F\u205F-\u2064\u3000\uFEFF]*$",
    strict=True)]
"""A word that is compared with others; it has no invisible characters."""


class Spec(BaseModel):
    """A frozen value whose YAML names are camelCase; a field it does not know is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel,
        validate_by_name=False, validate_by_alias=True, use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


class Rung(StrEnum):
    """How far the loop may go by itself; each rung includes those before it."""

    REPORT = "report"
    NETWORK = "network"
    REPLICATE = "replicate"
    START = "start"
    MIGRATE = "migrate"
    RESTART = "restart"
    PRUNE = "prune"
    """Take away what is not declared, but no data: a VLAN from a trunk, a port, a device."""
    FAILOVER = "failover"
    DELETE = "delete"

    height: int
    """Its place on the ladder, report lowest; looked up for every action of every plan."""

    def __init__(self, _: str) -> None:
        self.height = len(type(self).__members__)


class Manage(StrEnum):
    """Whether an object is acted on, or only shown."""

    OBSERVE = "observe"
    FULL = "full"


class Suspend(Spec):
    """A pause with an owner, a reason and an end."""

    until: Text
    """When it ends, as an instant with a zone: 2026-11-23T06:00:00Z."""
    by: Text
    """Who paused it."""
    why: Text
    """Why it is paused; shown wherever the object is shown."""


def _several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


FormerNames = Annotated[
    tuple[Name, ...],
    BeforeValidator(_several),
    WithJsonSchema({"anyOf": [
        {"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Scope(Spec):
    """What every spec that can be healed has: former names, how far it is managed, a pause."""

    formerly: FormerNames = ()
    """Its former name, or names: it stays the same object, with everything that it has."""
    autonomy: Rung | None = None
    """The highest rung the loop may reach here by itself; unset: as the scope around it."""
    manage: Manage | None = None
    """observe: it is shown, and nothing is done to it; a VM with `protection` is copied all the
    same. Unset: as the scope around it says, and full if none says anything."""
    suspend: Suspend | None = None
    """Pauses healing here until an instant."""


class Metadata(Spec):
    """Name and labels of one object."""

    name: Name
    """Unique among the objects of this kind."""
    labels: dict[Label, Label] = Field(default_factory=dict)
    """Free words, for selecting and for people."""


class Document(Spec):
    """One YAML document: the envelope that every kind shares."""

    api_version: Literal["hotsite/v1"] = "hotsite/v1"
    """The version of this format; may be left out."""
    metadata: Metadata

    @property
    def name(self) -> str:
        """Return the object's name."""
        return self.metadata.name

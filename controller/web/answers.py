"""What the API answers, as its description names it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Problem(BaseModel):
    """Why a request was not answered, in one sentence (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


def problems(**told: str) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route answers with: `_404="there is no such object"`."""
    return {int(code[1:]): {"description": what, "content": {
        "application/problem+json": {"schema": Problem.model_json_schema()}}}
        for code, what in told.items()}


class Row(BaseModel):
    """One object: how well it is and why; more fields by kind, None where nothing was seen."""

    model_config = ConfigDict(extra="allow")

    kind: str
    name: str
    level: str
    """critical, unknown, late, suspended, observed or fine."""
    sentence: str
    since_at: float | None
    place: str
    """The file and line where it is declared."""


class Rows(BaseModel):
    """Some rows of a kind by name, and the version that they are of."""

    began: str
    """Names the process that counts the versions."""
    version: int
    total: int
    """How many match in all."""
    rows: list[Row]


class Chain(BaseModel):
    """Why an object is as it is."""

    target: str
    row: Row | None
    declared: dict[str, Any] | None
    conditions: list[dict[str, Any]]
    differs: list[dict[str, Any]]
    remarks: list[str]
    waits: str
    suspended: list[dict[str, Any]]
    last: list[dict[str, Any]]


class EventLine(BaseModel):
    """One line of the journal."""

    id: int
    at: float
    kind: str
    target: str
    node: str
    verb: str
    outcome: str
    sentence: str


class Events(BaseModel):
    """Lines of the journal, oldest first."""

    events: list[EventLine]


class Estate(BaseModel):
    """The estate as a whole."""

    model_config = ConfigDict(extra="allow")

    estate: str
    began: str
    version: int
    fault: str = Field(description="Why the store cannot be read now; empty while it can.")
    now_at: float
    loop: dict[str, Any]
    sites: list[dict[str, Any]] = Field(
        description="What the loss of each site would come to now.")
    break_glass: dict[str, Any] | None = Field(
        None, description="What a person has put in force over git, why, and until when.")


class Drawn(BaseModel):
    """One chart: bars from 0 to 1, oldest first; null where nothing is known."""

    title: str
    sentence: str
    bars: list[float | None]
    over: list[bool]
    limit: float | None


class Health(BaseModel):
    """Whether the loop lives, as far as its store tells."""

    loop: bool
    sentence: str

"""Parses the facts script's answer, and renders what it is to ask of guests."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from controller.model.facts import Hardware
from controller.model.failover.serving import Probe, ServingFacts
from controller.providers.linux.replica import first_of

SERVING: Final = TypeAdapter(dict[str, ServingFacts])


class Section(BaseModel):
    """One part of an answer: a text, or why there is none."""

    model_config = ConfigDict(frozen=True)

    digest: str | None = None
    text: str | None = None
    same: bool = False
    """Whether the text is unchanged: it has the digest that the question named."""
    error: str | None = None
    absent: bool = False


class Answer(BaseModel):
    """An answer of the facts script; times are by the node's clock."""

    model_config = ConfigDict(frozen=True)

    began: float
    now: float
    boot_id: str
    product_uuid: str = ""
    hostname: str = ""
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


def parse_serving(text: str) -> Mapping[str, ServingFacts]:
    """Return by UUID what a host found out of guests.

    Errors: ValueError with a sentence.
    """
    try:
        return SERVING.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"what it says of its guests is not understood: {first_of(error)}"
                         ) from error


def render_probe(probe: Probe) -> dict[str, Any]:
    """Return one probe as the facts script takes it; what is not asked is left out."""
    row = {"uuid": probe.uuid, "name": probe.name, "agent": probe.agent, "reads": probe.reads,
           "tcp": probe.tcp, "ping": probe.ping, "address": probe.address, "mac": probe.mac}
    return {key: value for key, value in row.items() if value}

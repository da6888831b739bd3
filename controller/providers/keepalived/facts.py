"""Parses what the facts script says of a switch's keepalived."""

from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from controller.model.linux.keepalived import HeardRouter, KeepalivedFacts
from controller.providers.keepalived.config import parse_config
from controller.providers.linux.replica import first_of


class Said(BaseModel):
    """The section as it is sent."""

    model_config = ConfigDict(frozen=True)

    version: str
    running: bool
    config: str | None
    forwarding: bool | None
    states: dict[str, str]
    states_unknown: str
    heard: tuple[tuple[str, int, str], ...]


SAID: Final = TypeAdapter(Said)


def parse_keepalived(text: str) -> KeepalivedFacts:
    """Return the keepalived of a switch.

    Errors: ValueError with a sentence.
    """
    try:
        said = SAID.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"what it says of keepalived is not understood: {first_of(error)}"
                         ) from error
    state, instances = parse_config(said.config)
    return KeepalivedFacts(
        said.version, said.running, state, instances, said.states, said.states_unknown,
        tuple(HeardRouter(*one) for one in said.heard), said.forwarding)

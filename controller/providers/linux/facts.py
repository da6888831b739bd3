"""Parses the facts script's answer."""

from pydantic import BaseModel, ConfigDict, ValidationError

from controller.model.facts import Hardware


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

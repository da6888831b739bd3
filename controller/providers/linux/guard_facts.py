"""Parses what the facts script says of a node's guard and grantor."""

from dataclasses import replace
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from controller.model.facts import Fact, Known, NodeFacts
from controller.model.failover.guard import GrantorFacts, GuardFacts
from controller.providers.linux.replica import first_of

GUARD: Final = TypeAdapter(GuardFacts)
GRANTOR: Final = TypeAdapter(GrantorFacts)
T = TypeVar("T")
F = TypeVar("F", GuardFacts, GrantorFacts)


def parse_guard(text: str) -> GuardFacts:
    """Return the guard of a host.

    Errors: ValueError with a sentence.
    """
    return _parsed(GUARD, text, "guard")


def parse_grantor(text: str) -> GrantorFacts:
    """Return the grantor of a node.

    Errors: ValueError with a sentence.
    """
    return _parsed(GRANTOR, text, "grantor")


def compared(facts: NodeFacts, version: str, key_id: str) -> NodeFacts:
    """Return a node's facts with whether its guard and grantor are those that we would set up.

    Shapes: nodes show the digest of their orders, a point, and the id of their secret.
    """
    guard, grantor = (_compared(facts.guard, version, key_id),
                      _compared(facts.grantor, version, key_id))
    if guard is facts.guard and grantor is facts.grantor:
        return facts
    return replace(facts, guard=guard, grantor=grantor)


def _compared(fact: Fact[F], version: str, key_id: str) -> Fact[F]:
    if not isinstance(fact, Known) or not fact.value.running:
        return fact
    digest, _, of_key = fact.value.digest.partition(".")
    outdated = fact.value.program != version or bool(key_id and of_key != key_id)
    return Known(replace(fact.value, digest=digest, outdated=outdated), fact.observed_at)


def _parsed(adapter: TypeAdapter[T], text: str, what: str) -> T:
    try:
        return adapter.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"what its {what} says is not understood: {first_of(error)}") from error

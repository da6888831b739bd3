"""Parses the facts script's replicas and leftovers."""

from typing import Final

from pydantic import TypeAdapter, ValidationError

from controller.model.replica import Leftover, ReplicaFacts

REPLICAS: Final = TypeAdapter(tuple[ReplicaFacts, ...])
LEFTOVERS: Final = TypeAdapter(tuple[Leftover, ...])


def parse_replicas(text: str) -> dict[str, ReplicaFacts]:
    """Return every replica of a host by its VM's UUID.

    If a host has two replicas of one VM, the one with the newer point counts.
    Errors: ValueError with a sentence; half an answer is no answer.
    """
    try:
        replicas = REPLICAS.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"the list of replicas is not understood: {first_of(error)}") from error
    return {replica.uuid: replica for replica in sorted(replicas, key=progress)}


def progress(replica: ReplicaFacts) -> tuple[bool, int, str]:
    """Return the sort key of a replica: a readable one with the newest point comes last."""
    newest = replica.newest
    return not replica.unreadable, newest.sequence if newest else 0, replica.path


def parse_leftovers(text: str) -> tuple[Leftover, ...]:
    """Return a host's leftovers.

    Errors: ValueError with a sentence.
    """
    try:
        return LEFTOVERS.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"the list of leftovers is not understood: {first_of(error)}") from error


def first_of(error: ValidationError) -> str:
    """Return the first validation error, in a few words."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"

"""Facts as text and back, so that what nodes said last survives a restart."""

from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter, ValidationError

from controller.model.facts import Known, NodeFacts
from controller.store.store import Store


@cache
def _adapter() -> TypeAdapter[NodeFacts]:
    """Return what turns facts into JSON and back; made once, since that takes a moment."""
    return TypeAdapter(NodeFacts)


def render_facts(facts: NodeFacts) -> str:
    """Return facts as JSON."""
    return _adapter().dump_json(facts).decode()


def parse_facts(text: str) -> NodeFacts:
    """Return facts from their JSON.

    Errors: ValueError when the text is of another version.
    """
    return _adapter().validate_json(text)


def save_seen(store: Store, node: str, fact: Known[NodeFacts]) -> None:
    """Remember what a node said.

    Errors: JournalUnavailable.
    """
    store.save_seen(node, render_facts(fact.value), fact.observed_at)


def load_seen(store: Store) -> Mapping[str, Known[NodeFacts]]:
    """Return what nodes said last; what cannot be understood any more is left out.

    Errors: JournalUnavailable.
    """
    found = {}
    for node, seen in store.seen().items():
        try:
            found[node] = Known(parse_facts(seen.facts), seen.at)
        except ValidationError:
            continue
    return found

"""The last facts of each node, as JSON in the store, so that they survive a restart."""

from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter, ValidationError

from controller.model.facts import Fact, Known, NodeFacts
from controller.plan.survey.renamed import known_as
from controller.reconcile.observe.view import View
from controller.store.store import Store


@cache
def _adapter() -> TypeAdapter[NodeFacts]:
    """Return the converter of facts to JSON and back; made once, since that takes a moment."""
    return TypeAdapter(NodeFacts)


def render_facts(facts: NodeFacts) -> str:
    """Return facts as JSON."""
    return _adapter().dump_json(facts).decode()


def parse_facts(text: str) -> NodeFacts:
    """Return facts from their JSON.

    Errors: ValueError when the text is of another version.
    """
    return _adapter().validate_json(text)


def save_fact(store: Store, node: str, fact: Fact[NodeFacts]) -> None:
    """Save a node's facts, or that it did not answer.

    Errors: JournalUnavailable.
    """
    if isinstance(fact, Known):
        store.save_seen(node, render_facts(fact.value), fact.observed_at)
    else:
        store.mark_silent(node)


def save_removed(store: Store, view: View) -> None:
    """Forget the nodes that left the specs and are taken as gone; save those that may not be.

    Errors: JournalUnavailable.
    """
    for node in view.gone:
        store.forget_seen(node)
    for node, last in view.doubted.items():
        save_fact(store, node, last)
    view.doubted.clear()


def load_seen(store: Store) -> Mapping[str, Known[NodeFacts]]:
    """Return the last facts of every node; those that cannot be parsed any more are left out.

    Errors: JournalUnavailable.
    """
    found = {}
    for node, seen in store.seen().items():
        try:
            found[node] = Known(known_as(parse_facts(seen.facts), node), seen.at)
        except ValidationError:
            continue
    return found

"""Facts as text and back, so that what nodes said last survives a restart."""

from collections.abc import Iterable, Mapping
from functools import cache

from pydantic import TypeAdapter, ValidationError

from controller.model.facts import Fact, Known, NodeFacts
from controller.plan.survey.renamed import known_as
from controller.reconcile.observe.view import View
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


def save_fact(store: Store, node: str, fact: Fact[NodeFacts]) -> None:
    """Remember what a node said, or that it said nothing.

    Errors: JournalUnavailable.
    """
    if isinstance(fact, Known):
        save_seen(store, node, fact)
    else:
        store.mark_silent(node)


def forget(store: Store, nodes: Iterable[str]) -> None:
    """Forget nodes of which a person said that they are gone.

    Errors: JournalUnavailable.
    """
    for node in nodes:
        store.forget_seen(node)


def part(store: Store, view: View) -> None:
    """Forget nodes of which a person said that they are gone, and remember those that may not be.

    Errors: JournalUnavailable.
    """
    forget(store, view.gone)
    for node, last in view.doubted.items():
        save_seen(store, node, last)
    view.doubted.clear()


def load_seen(store: Store) -> Mapping[str, Known[NodeFacts]]:
    """Return what nodes said last; what cannot be understood any more is left out.

    Errors: JournalUnavailable.
    """
    found = {}
    for node, seen in store.seen().items():
        try:
            found[node] = Known(known_as(parse_facts(seen.facts), node), seen.at)
        except ValidationError:
            continue
    return found

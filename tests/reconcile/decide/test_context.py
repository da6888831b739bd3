"""The context of a decision, as read from the store."""

from controller.plan.survey.context import WHOLE_ESTATE, Suspension
from controller.reconcile.decide.context import ContextBuilder
from controller.store.store import Store
from tests.reconcile.stage import lab


def test_the_pause_of_a_damaged_journal_holds_the_estate_by_its_name() -> None:
    store = Store.open(":memory:")
    store.suspend(Suspension(WHOLE_ESTATE, "hotsite", "the journal was damaged", 9e9))
    context = ContextBuilder(store, lambda: 1.0)
    context.declare(lab())
    context.read()
    assert [one.target for one in context.build(()).suspensions] == ["Estate/lab"]

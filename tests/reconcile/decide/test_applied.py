"""Which objects count as applied: everything, unless a commit's step or an unknown says no."""

from controller.plan.actions.action import Cause
from controller.plan.actions.machine import StartDomain
from controller.plan.steps.plan import Plan, Remark, Step
from controller.reconcile.decide.context import applied_fingerprints

BEFORE = {"VirtualMachine/sql": "1", "VirtualMachine/web": "1", "Network/office": "1",
          "VirtualMachine/gone": "1"}
NOW = {"VirtualMachine/sql": "2", "VirtualMachine/web": "2", "Network/office": "2"}


def step(vm: str, cause: Cause) -> Step:
    """Return a step about a VM."""
    return Step(StartDomain(target=f"VirtualMachine/{vm}", node="paris-1", reason="it is off",
                            domain=vm, cause=cause))


def test_without_steps_and_unknowns_all_is_applied() -> None:
    assert applied_fingerprints(Plan("r2"), BEFORE, NOW) == NOW


def test_drift_alone_does_not_keep_a_commit_from_being_applied() -> None:
    assert applied_fingerprints(Plan("r2", (step("sql", Cause.DRIFT),)), BEFORE, NOW) == NOW


def test_an_object_with_a_commit_s_step_keeps_its_old_print_and_shared_kinds_do_too() -> None:
    assert applied_fingerprints(Plan("r2", (step("sql", Cause.COMMIT),)), BEFORE, NOW) == {
        "VirtualMachine/sql": "1", "VirtualMachine/web": "2", "Network/office": "1"}


def test_what_cannot_be_seen_is_not_applied() -> None:
    remark = Remark("VirtualMachine/web", "paris-2 does not answer", unknown=True)
    assert applied_fingerprints(Plan("r2", (), (remark,)), BEFORE, NOW)["VirtualMachine/web"] == "1"

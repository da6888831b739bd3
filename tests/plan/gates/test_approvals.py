"""Yes of more than one person, and what no window holds back."""

from dataclasses import replace

import pytest

from controller.model.document import Rung
from controller.plan.actions.action import Cause
from controller.plan.gates.approval import content
from controller.plan.steps.plan import Ruling, Verdict
from controller.plan.survey.context import Approval, WindowState
from tests.plan import builders as b
from tests.plan.gates.test_gates import START, START_ACTION, ruling


def test_two_persons_are_two_names_that_approved_the_same_content() -> None:
    def asked(*yes: Approval) -> Ruling:
        return ruling(replace(b.APPLIED, approvals=yes), autonomy="report",
                      approvals={"twoPersons": ["start", "delete"]})

    ann = Approval(START, "r1", "ann", b.NOW_S + 60, content(START_ACTION))
    assert asked().sentence.endswith("grants; start needs two persons' yes")
    one = asked(ann)
    assert one.verdict is Verdict.NEEDS_APPROVAL
    assert one.sentence.endswith("; ann has approved it, and start needs a second person's yes")
    assert one.clears == f"hotsite approve {START}, by another person"
    for other in (replace(ann, by=" Ann"), replace(ann, by="bob", content="another"),
                  replace(ann, by="bob", revision="r0"), replace(ann, by="bob", expires_at=0.0)):
        assert asked(ann, other).verdict is Verdict.NEEDS_APPROVAL
    assert asked(ann, replace(ann, by="bob")).verdict is Verdict.ALLOWED
    other_rung = ruling(replace(b.APPLIED, approvals=(ann,)), autonomy="report",
                        approvals={"twoPersons": ["delete"]})
    assert other_rung.verdict is Verdict.ALLOWED


@pytest.mark.parametrize(("emergency", "cause", "refused"), [
    (("repair",), Cause.DRIFT, False), (("repair",), Cause.COMMIT, True),
    (("copy",), Cause.DRIFT, True), ((), Cause.DRIFT, True)])
def test_what_has_broken_by_itself_is_repaired_in_a_window_that_says_so(
        emergency: tuple[str, ...], cause: Cause, *, refused: bool) -> None:
    state = WindowState("freeze", "deny", True, Rung.NETWORK, None, emergency)
    changed = frozenset({"VirtualMachine/sql"} if cause is Cause.COMMIT else ())
    answer = ruling(replace(b.APPLIED, windows=(state,), changed=changed))
    assert (answer.rule == "window") is refused

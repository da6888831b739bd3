"""Plans as Markdown: whatever names and reasons hold, only our own words stand outside blocks."""

import re

from hypothesis import given
from hypothesis import strategies as st

from controller.model.condition import Condition, ConditionType, Status
from controller.plan.actions.machine import StartDomain
from controller.plan.output.markdown import (
    TEXT_MAX,
    plan_to_markdown,
    problems_to_markdown,
    review_to_markdown,
)
from controller.plan.output.review import Review
from controller.plan.steps.plan import Plan, Remark, Ruling, Step, Verdict

BLOCK = re.compile(r"(?ms)^(`{3,})diff\n(.*?)\n\1$")
NASTY = st.text(st.sampled_from("`~<>@#[]()!*_\\\n\r\t\x1b\u202e\u2066\u200f $:&-+ax"), max_size=40)


def step_of(text: str) -> Step:
    """Return a step in which everything that can be is `text`."""
    action = StartDomain(target=f"VirtualMachine/{text}", node=text, reason=text, consequence=text,
                         domain=text)
    return Step(action, (), Ruling(Verdict.REFUSED, text, text, text))


def outside(markdown: str) -> str:
    return BLOCK.sub("", markdown)


def in_full(text: str) -> list[str]:
    """Return every kind of page about `text`."""
    step, remark = step_of(text), Remark(text, text, unknown=True)
    condition = Condition(text, ConditionType.READY, Status.FALSE, text, text)
    plan = Plan(text, (step,), (remark,), (condition,))
    return [plan_to_markdown(plan), problems_to_markdown([text]), review_to_markdown(
        Review(plan, plan, (text,), (text,), (text,), (step,), (step,), 1, (condition,),
               (condition,), (remark,), ()), text)]


@given(NASTY)
def test_nothing_that_others_wrote_stands_outside_of_a_block(text: str) -> None:
    for page, plain in zip(in_full(text), in_full("x"), strict=True):
        assert outside(page) == outside(plain)
        for _, inside in BLOCK.findall(page):
            assert all(c.isprintable() or c == "\n" for c in inside)


def test_a_page_is_never_longer_than_a_forge_takes_and_counts_what_is_left_out() -> None:
    plan = Plan("one", tuple(step_of(f"{number}" * 300) for number in range(1000)))
    page = plan_to_markdown(plan)
    assert len(page) < TEXT_MAX + 1000
    assert re.search(r"\d+ lines left out", page)
    assert "`" not in outside(page)


def test_what_is_taken_away_and_what_is_added_are_coloured_as_in_a_diff() -> None:
    plan = Plan("one", (step_of("sql"),), (Remark("Host/a", "it is silent", unknown=True),))
    page = plan_to_markdown(plan)
    assert "\n+ start VirtualMachine/sql" in page
    assert "\n? Host/a: it is silent\n" in page
    assert page.startswith("### hotsite: 1 change, 1 unknown\n")

"""What is added to specs that people have edited: in its place, and every line of theirs stays."""

import difflib

import pytest

from controller.source.amend import with_item
from controller.source.problems import SourceText
from controller.source.yaml import parse_documents

ITEM = "{network: new, bridge: br9}"
ONE_LINE = "kind: Host\nspec: {site: a}\n"
SHAPES = {
    "missing": "# mine\nkind: Host\nspec:\n  # why\n  site: a   # here\n  address: b\n",
    "flow": "kind: Host\nspec:\n  attachments: [{network: a, bridge: b}]  # mine\n  site: a\n",
    "empty": "kind: Host\nspec:\n  attachments: []\n  site: a\n",
    "block": "kind: Host\nspec:\n  attachments:\n    # first\n    - {network: a, bridge: b}  # x\n"
             "    # after\n  site: a\n",
    "block maps": "kind: Host\nspec:\n  attachments:\n  - network: a\n    bridge: b\n\n"
                  "  # then\n  site: a\n",
    "at the end": "kind: Host\nspec:\n  site: a\n  attachments:\n    - {network: a, bridge: b}",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("before", ["", "kind: Site\nmetadata: {name: x}\n---\n", "# head\n\n"])
def test_an_item_is_added_and_no_line_is_lost(shape: str, before: str) -> None:
    text = before + SHAPES[shape]
    chunks, _, _ = parse_documents(SourceText("x.yaml", text))
    after = with_item(text, chunks[-1].chunk.line, "attachments", ITEM)
    assert after is not None
    parsed, problems, broken = parse_documents(SourceText("x.yaml", after))
    assert (problems, broken) == ([], [])
    old, new = chunks[-1].value, parsed[-1].value
    assert isinstance(old, dict)
    assert isinstance(new, dict)
    added = {"network": "new", "bridge": "br9"}
    assert new["spec"] == {**old["spec"],
                           "attachments": [*old["spec"].get("attachments", ()), added]}
    gone = [line for line in difflib.ndiff(text.split("\n"), after.split("\n"))
            if line.startswith("- ")]
    assert len(gone) <= (shape in {"flow", "empty"})


def test_a_spec_on_one_line_has_no_place() -> None:
    assert with_item(ONE_LINE, 1, "attachments", ITEM) is None

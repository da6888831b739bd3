"""A previous name belongs to one object, and to none that is declared."""

from pathlib import Path

import pytest

from tests.source.check.sound import SOUND
from tests.source.check.test_check import EXTRA_HOST, problems_of

ADDITIONS = {
    "a name of before that is declared": (
        "kind: Network\nmetadata: {name: n}\nspec: {vlan: 9, sites: [paris], formerly: office}\n",
        "63:43: Network `office` is declared (a.yaml:36), so Network `n` cannot have been it:"
        " remove one of the two",
    ),
    "a name of before that is its own": (
        "kind: Network\nmetadata: {name: n}\nspec: {vlan: 9, sites: [paris], formerly: [n]}\n",
        "63:43: `formerly: n` is the name it has now: leave it out",
    ),
    "a host that was a switch that is": (
        EXTRA_HOST % ("h", "10.77.0.9", ", formerly: paris-sw"),
        "63:51: Switch `paris-sw` is declared (a.yaml:17), so Host `h` cannot have been it:"
        " remove one of the two",
    ),
}


@pytest.mark.parametrize("what", ADDITIONS)
def test_a_name_of_before_that_cannot_be_is_told(tmp_path: Path, what: str) -> None:
    text, expected = ADDITIONS[what]
    assert problems_of(tmp_path, f"{SOUND}---\n{text}") == [f"a.yaml:{expected}"]


def test_two_cannot_have_been_the_same(tmp_path: Path) -> None:
    text = "".join(f"---\nkind: Network\nmetadata: {{name: {name}}}\n"
                   f"spec: {{vlan: {vlan}, sites: [paris], formerly: old}}\n"
                   for name, vlan in (("one", 7), ("two", 8)))
    assert problems_of(tmp_path, SOUND + text) == [
        "a.yaml:67:43: `one` says, too, that it was old (a.yaml:61): remove one of the two lines"]


def test_names_cannot_go_round(tmp_path: Path) -> None:
    text = "".join(f"---\nkind: Network\nmetadata: {{name: {name}}}\n"
                   f"spec: {{vlan: {vlan}, sites: [paris], formerly: {was}}}\n"
                   for name, vlan, was in (("one", 7, "two"), ("two", 8, "one")))
    found = problems_of(tmp_path, SOUND + text)
    assert len(found) == 2
    assert all("cannot have been it" in problem for problem in found)

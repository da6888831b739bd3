"""What an import writes is read back as what it meant, whatever libvirt had in its names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adoption.names import fits, free_name, machine_name, safe_name
from controller.adoption.text import Noted, plain, render_document, render_file
from controller.source.problems import SourceText
from controller.source.yaml import parse_documents

HOSTILE = ("no", "on", "~", "null", "0x1f", "1e3", "1_000", "0o17", "12:34:56", "2026-11-29",
           "<<", "=", "*a", "&a", "!tag", "- a", "a: b", "a #b", "#", "'", '"', "\\", "%TAG",
           "{", "}", "[", "]", ",", "?", "|", ">", "@", "`", " lead", "trail ", "a\nb", "---",
           "...", "\x1b[31mred", "\u202etxt", "\u2028", "\x85", "\ufeff", "\u00a0", "é", "名", "😀",
           "", ".inf", ".nan", "a\tb", "key: [1, 2", "\x00", "WIN_2019", "a,b")
words = st.one_of(st.sampled_from(HOSTILE), st.text(
    st.characters(exclude_categories=("Cs",)), max_size=30))
scalars = st.one_of(words, st.integers(-10**9, 10**9), st.booleans())
keys = st.one_of(st.sampled_from(("name", "spec", "size", "no")), words)
flat = st.dictionaries(keys, scalars, max_size=4)
values = st.one_of(scalars, flat, st.lists(scalars, max_size=3), st.lists(flat, max_size=3))


def noted(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The same, sometimes with a comment."""
    return st.one_of(value, st.builds(Noted, value, st.lists(words, max_size=2).map(tuple), words))


documents = noted(st.dictionaries(keys, st.one_of(
    noted(values), noted(st.dictionaries(keys, noted(values), max_size=4))),
    min_size=1, max_size=4))


def load(text: str) -> list[Any]:
    """What the loader reads in a text."""
    parsed, problems, broken = parse_documents(SourceText("x.yaml", text))
    assert (problems, broken) == ([], [])
    return [one.value for one in parsed]


@given(st.lists(documents, min_size=1, max_size=3), st.lists(words, max_size=2))
def test_what_is_written_is_read_back_as_the_same_values(written: list[Any],
                                                         head: list[str]) -> None:
    assert load(render_file(written, head)) == [plain(one) for one in written]


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_nothing_that_drives_a_terminal_or_ends_a_line_gets_into_a_comment(text: str) -> None:
    rendered = render_document(Noted({"a": Noted(1, (text,), text)}, (text,)))
    lines = rendered.removesuffix("\n").split("\n")
    assert all(one.isprintable() for one in lines)
    assert [one for one in lines if not one.lstrip().startswith("#")] == [
        one for one in lines if one.startswith("a: 1")]


@pytest.mark.parametrize(("text", "name"), [
    ("web-01", "web-01"), ("WIN_2019", "win-2019"), ("Büro Server", "buro-server"),
    ("a" * 80, "a" * 63), ("..", "vm"), ("名前", "vm"), ("-x-", "x"), ("a\nb", "a-b"),
])
def test_a_name_stays_as_near_to_itself_as_it_can(text: str, name: str) -> None:
    assert safe_name(text, "vm") == name
    assert fits(name)


@given(words, st.sets(st.sampled_from(("a", "web", "web-h1", "vm", "no"))))
def test_every_domain_gets_a_name_of_its_own_that_means_no_other(text: str,
                                                                 taken: set[str]) -> None:
    name = machine_name(text, "11111111-2222-3333-4444-555555555555", "h1", taken)
    assert fits(name)
    assert name not in taken
    assert not name.isdecimal()


def test_two_of_one_name_are_told_apart_by_their_host_and_then_by_number() -> None:
    taken: set[str] = set()
    for expected in ("web", "web-h1", "web-h1-2", "web-h1-3"):
        assert free_name("web", taken, "h1") == expected
        taken.add(expected)

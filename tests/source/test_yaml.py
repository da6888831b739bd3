"""Text that is not YAML, and YAML that is a trap."""

import time
from pathlib import Path

import pytest

from controller.errors import SpecError
from controller.source.load import load_folder
from tests.waiting import OUT_OF_HAND_S

ESTATE = "kind: Estate\nmetadata: {name: e}\nspec: {ssh: {keyFile: /k, knownHosts: /h}}\n"
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True))
MANY = "a: &a [" + "x," * 900 + "]\nb: &b [" + "*a," * 50 + "]\nc: [" + "*b," * 50 + "]\n"

BROKEN = {
    "an open bracket": (
        "a: [1, 2\nb: 3\n",
        (
            "2:2: not valid YAML: did not find expected ',' or ']': check brackets, quotes and "
            "indentation here and just above"
        ),
    ),
    "an open quote": (
        'a: "x\n',
        "2:1: a quote is never closed: add the closing quote",
    ),
    "a tab": (
        "kind: Site\nmetadata:\n\tname: s\n",
        "3:1: a tab cannot indent YAML: use spaces",
    ),
    "two colons": (
        "a: b: c\n",
        (
            "1:5: a second `:` on one line: put the text behind the first one in quotes, or "
            "start a new line"
        ),
    ),
    "an at sign": (
        "a: @x\n",
        "1:4: a value cannot begin with `@`: put it in quotes",
    ),
    "a control character": (
        "a: x\x01\n",
        "1:5: control character '\\x01': remove it",
    ),
    "a NUL": (
        "a: x\x00y\n",
        "1:5: control character '\\x00': remove it",
    ),
    "a key twice": (
        "kind: Site\nkind: Site\n",
        "2:1: `kind` stands here twice, first in line 1: keep one",
    ),
    "a list as a key": (
        "? [a]\n: 1\n",
        "1:3: a list or a mapping cannot be a key: write a word",
    ),
    "an alias to nothing": (
        "a: *x\n",
        "1:4: an alias without its anchor: write the value itself",
    ),
    "a merge": (
        "kind: Site\nmetadata: &m {name: s}\nspec: {<<: *m}\n",
        "3:8: YAML 1.2 has no merge keys: write the fields out",
    ),
    "a tag of Python": (
        "!!python/object:os.system [ls]\n",
        (
            "1:1: the tag `tag:yaml.org,2002:python/object:os.system` is not used here: leave it "
            "out"
        ),
    ),
    "an alias of itself": (
        "a: &a [*a]\n",
        "1:8: aliases that expand to far too many values: write the values out",
    ),
    "a billion laughs": (
        LAUGHS,
        "2:8: aliases that expand to far too many values",
    ),
    "a list repeated": (
        MANY,
        "2:8: aliases that expand to far too many values: write the values out",
    ),
    "deep brackets": (
        "a: " + "[" * 1000 + "]" * 1000 + "\n",
        "nested too deeply: stay below 128",
    ),
    "very deep brackets": (
        "{" * 4_000_000,
        "1:1: nested too deeply: stay below 128 levels",
    ),
    "very deep dashes": (
        "- " * 2_000_000,
        "1:1: nested too deeply: stay below 128 levels",
    ),
    "deep lines": (
        "".join(" " * depth + "a:\n" for depth in range(2000)),
        "nested too deeply",
    ),
    "not UTF-8": (
        b"kind: Site\nmetadata: {name: caf\xe9}\n",
        "2:21: byte 0xe9 is not UTF-8: save the file as UTF-8",
    ),
    "UTF-16": (
        "kind: Site\n".encode("utf-16"),
        "1:1: byte 0xff is not UTF-8",
    ),
}


def refusal(folder: Path, text: str | bytes, name: str = "a.yaml") -> list[str]:
    """What is said about a file with `text` beside an Estate."""
    (folder / "z.yaml").write_text(ESTATE)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SpecError) as caught:
        load_folder(folder)
    return list(caught.value.problems)


@pytest.mark.parametrize("what", BROKEN)
def test_broken_text_is_refused_at_once(tmp_path: Path, what: str) -> None:
    text, expected = BROKEN[what]
    began = time.process_time()
    found = refusal(tmp_path, text)
    assert time.process_time() - began < OUT_OF_HAND_S
    assert any(problem.startswith("a.yaml:") and expected in problem for problem in found), found


def test_one_broken_document_hides_no_other(tmp_path: Path) -> None:
    text = "kind: Site\nmetadata: {name: A}\n---\na: [\n---\nkind: Site\nmetadata: {name: B}\n"
    assert [problem.split(": ")[0] for problem in refusal(tmp_path, text)] == [
        "a.yaml:2:18", "a.yaml:5:1", "a.yaml:7:18"]


def test_every_repeated_key_of_a_document_is_told(tmp_path: Path) -> None:
    found = refusal(tmp_path, "kind: Site\nmetadata: {name: a, name: b}\nkind: Site\n")
    assert [problem.split(": ")[0] for problem in found] == ["a.yaml:2:21", "a.yaml:3:1"]


def test_an_object_in_a_broken_document_is_not_called_missing(tmp_path: Path) -> None:
    text = ("kind: Site\nmetadata: {name: s}\nspec: {\n---\nkind: Host\nmetadata: {name: h}\n"
            "spec: {site: s, address: a}\n")
    found = refusal(tmp_path, text)
    assert len(found) == 1
    assert "not valid YAML" in found[0] or "second `:`" in found[0]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + ESTATE.replace("\n", "\r\n").encode())
    assert load_folder(tmp_path).estate.name == "e"


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        ESTATE + "---\nkind: Site\nmetadata: {name: &n s, labels: {a: *n, b: 'x!y *z'}}\n")
    assert load_folder(tmp_path).sites["s"].metadata.labels["a"] == "s"


def test_a_place_is_the_first_line_of_the_document_itself(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"# who\n\n{ESTATE}---  # a site\n\n# where\nkind: Site\n"
                                     "metadata: {name: s}\n--- {kind: Site, metadata: {name: t}}\n")
    places = load_folder(tmp_path).places
    assert [str(places[target]) for target in ("Estate/e", "Site/s", "Site/t")] == [
        "a.yaml:3", "a.yaml:9", "a.yaml:11"]


@pytest.mark.parametrize(("text", "expected"), [
    ('{"kind": "Site",}', "1:17: not valid JSON"),
    ('{"kind": "Site",\n "kind": "Site"}', "2:2: `kind` stands here twice: keep one"),
    ('{"kind": NaN}', "NaN is not a number of JSON: write a number"),
    ("[" * 100_000, "nested too deeply"),
    ('{"kind": "Site", "metadata": {"name": "\\ud800"}}',
     "`name` must be text of whole characters"),
    ('{"kind": "Site", "metadata": {"name": "s", "\\ud800": 1}}', "1:1: `metadata` must be text"),
    ("#", "1:1: not valid JSON"),
])
def test_broken_json_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    found = refusal(tmp_path, text, "a.json")
    assert any(problem.startswith("a.json:") and expected in problem for problem in found), found


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_a_line_end_that_editors_do_not_show_is_refused(tmp_path: Path, end: str) -> None:
    assert refusal(tmp_path, f"# one\n# two{end}kind: Site\n") == [
        f"a.yaml:2:6: line end {end!a}: write an ordinary one or remove it"]


@pytest.mark.parametrize("blank", ["\u00a0", "\u2003", "\u200b", "\u202f", "\u3000"])
@pytest.mark.parametrize(("text", "place"), [
    ("kind: Site\nmetadata: {name: s}\nspec:\n@ autonomy: report\n", "4:1"),
    ("kind: Site\nmetadata: {name: s}\nspec:\n @autonomy: report\n", "4:2"),
    ("kind: Site\nmetadata: {name: s}\nspec:\n  autonomy:@report\n", "4:12"),
    ("kind: Site\nmetadata: {name: s}\nspec:\n  auto@nomy: report\n", "4:7"),
    ("kind:@Site\nmetadata: {name: s}\n", "1:6"),
    ("kind: Site\nmetadata:\n  name: s\n  labels:\n    -@a\n", "5:6"),
])
def test_a_blank_that_is_no_space_is_named(tmp_path: Path, text: str, place: str,
                                           blank: str) -> None:
    told, *_ = refusal(tmp_path, text.replace("@", blank))
    assert told.startswith(f"a.yaml:{place}: the character U+{ord(blank):04X} (")
    assert told.endswith("is no space to YAML: use ordinary spaces")


def test_an_odd_blank_in_words_for_people_is_theirs(tmp_path: Path) -> None:
    found = refusal(tmp_path, "# un\u00a0: deux\nkind: Site\nmetadata: {name: s}\nspec:\n"
                              "  suspend: {by: a, why: 'feu\u00a0: tout', until: tomorrow}\n")
    assert all("no space" not in one for one in found)


def test_a_label_holds_nothing_that_cannot_be_seen(tmp_path: Path) -> None:
    told, *_ = refusal(tmp_path, 'kind: Site\nmetadata: {name: s, labels: {tier: "db\u200b"}}\n')
    assert r"db\u200b" in told

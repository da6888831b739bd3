"""Parse YAML 1.2 and JSON into plain values, document by document, and refuse traps.

Rule 1: a file is first parsed whole, fast. Only if that fails is each document parsed alone, so
        that one broken document hides no other.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from io import StringIO
from itertools import accumulate
from typing import NamedTuple

from ryaml import load, load_all

from controller.model.desired import KINDS
from controller.source.positions import (
    COMPOSED_CHARACTERS,
    Spot,
    expands_too_far,
    odd_keys,
    repeated_keys,
    tags,
)
from controller.source.problems import Chunk, Problem, SourceText

DEPTH = 128             # levels of brackets; the parser's own limit, checked before it toils
SHORT = 1 << 16         # characters that no nesting can make slow
BROKEN_SHOWN = 20       # documents of one file that are read alone before we give up on the file

_MARKER = re.compile(r"^---(?=[ \t\n]|\Z)", re.MULTILINE)
_CONTENT = re.compile(r"^[ \t]*(?:---[ \t]+)?(?!---)[^\s#%].*$", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")
_ALIAS = re.compile(r"(?:^|[\s\[{,:-])\*[^\s,\]}*]", re.MULTILINE)
_TAG = re.compile(r"(?:^|[\s\[{,])![^\s,\]}]*(?=\s)", re.MULTILINE)
_ODD_LINE_END = re.compile("[\x85\u2028\u2029]")  # ends a line for the parser, not for editors
_BLANKS = "\u00a0\u00ad\u1680\u2000-\u200f\u202a-\u202f\u205f-\u2064\u3000\ufeff"
_ODD_BLANK = re.compile(
    rf"""^[ \t]*(?:-[ \t]+)*(?:[^"'#\n:{_BLANKS}]*)([{_BLANKS}])[^#\n]*:"""   # indents, or in a key
    rf"""|^[^"'#\n:]*[:-]([{_BLANKS}])"""                                      # after `:` or `-`
    rf"""|^[ \t]*(?:-[ \t]+)*([{_BLANKS}])""", re.MULTILINE)
"""A blank that looks like a space where the structure is told by spaces."""
_BRACKET = re.compile(r"[\[\]{}]")
_DEEP_BLOCK = re.compile(rf"^[ \t]*(?:[-?][ \t]+){{{DEPTH}}}", re.MULTILINE)
_KIND_LINE = re.compile(r"^kind:[ \t]*([A-Za-z]+)", re.MULTILINE)
_NAME_LINE = re.compile(r"^(?:metadata:[ \t]*\{|[ \t]+)name:[ \t]*([a-z0-9.-]+)", re.MULTILINE)
_AT = re.compile(r" at line (\d+) column (\d+)")
_STEP = {"[": 1, "{": 1, "]": -1, "}": -1}
_ADVICE = {
    "mapping values are not allowed": "a second `:` on one line: put the text behind the first one"
                                      " in quotes, or start a new line",
    "recursion limit": f"nested too deeply: stay below {DEPTH} levels",
    "unknown anchor": "an alias without its anchor: write the value itself",
    "end of stream, while scanning a quoted": "a quote is never closed: add the closing quote",
    "as u128": "the number is too large: if it is meant as text, put it in quotes",
    "expected an integer": "the tag does not fit the value: leave the tag out",
    "escape": "this escape is not known: write the character itself, or use single quotes",
}


class Parsed(NamedTuple):
    """One document as plain values, and the text it came from."""

    chunk: Chunk
    value: object


def parse_documents(file: SourceText) -> tuple[list[Parsed], list[Problem], list[Chunk]]:
    """Return the documents of `file`, its problems, and the documents that cannot be parsed."""
    if file.name.lower().endswith(".json"):
        return parse_json(file)
    odd = None if file.text.isascii() else _ODD_LINE_END.search(file.text)
    if odd:
        whole = Chunk(file, 0, len(file.text), 1)
        return [], [at(whole, odd.start(), f"line end {odd.group()!a}: write an ordinary one"
                                           " or remove it")], [whole]
    chunks = list(split(file))
    problems = [problem for chunk in chunks for problem in traps(chunk)]
    if not problems:
        try:
            values = load_all(StringIO(file.text)) if chunks else []
        except ValueError:
            values = None
        if values is not None and len(values) == len(chunks):
            return [Parsed(*pair) for pair in zip(chunks, values, strict=True)], [], []
    return parse_each(chunks)


def parse_each(chunks: list[Chunk]) -> tuple[list[Parsed], list[Problem], list[Chunk]]:
    """Parse `chunks` one by one; return the parsed ones, and the problems of the others."""
    parsed: list[Parsed] = []
    problems: list[Problem] = []
    broken: list[Chunk] = []
    for chunk in chunks:
        if len(broken) >= BROKEN_SHOWN:
            broken.append(chunk)
            continue
        wrong = traps(chunk)
        if not wrong:
            try:
                parsed.append(Parsed(chunk, load(StringIO(chunk.text))))
                continue
            except ValueError as error:
                wrong = explain(chunk, str(error))
        problems += wrong
        broken.append(chunk)
    return parsed, problems, broken


def split(file: SourceText) -> Iterator[Chunk]:
    """Yield the documents of `file`: the text between lines that begin with `---`.

    YAML reserves those lines, so this is exact. Blank text before the first one is no document.
    """
    starts = [match.start() for match in _MARKER.finditer(file.text)]
    if not starts or _CONTENT.search(file.text, 0, starts[0]):
        starts.insert(0, 0)
    line, counted = 1, 0
    for start, end in zip(starts, [*starts[1:], len(file.text)], strict=True):
        content = _CONTENT.search(file.text, start, end)
        if content is None and not file.text.startswith("---", start):
            continue
        where = start if content is None else content.start()
        line, counted = line + file.text.count("\n", counted, where), where
        yield Chunk(file, start, end, line)


def traps(chunk: Chunk) -> list[Problem]:
    """Return what must be refused before the document is parsed."""
    text = chunk.text
    if len(text) > SHORT and is_deep(text):
        return [Problem(chunk.file.name, chunk.line, 1, _ADVICE["recursion limit"])]
    alias = _ALIAS.search(text) if "*" in text else None
    if alias and (len(text) > COMPOSED_CHARACTERS or expands_too_far(text)):
        return [at(chunk, alias.end() - 2, "aliases that expand to far too many values:"
                                           " write the values out")]
    blank = None if text.isascii() else _ODD_BLANK.search(text)
    if blank:
        return [at(chunk, blank.start(blank.lastindex or 0), odd_blank(blank))]
    if "!" in text and _TAG.search(text):
        return [problem_at(chunk, where, f"the tag `{tag}` is not used here: leave it out")
                for where, tag in tags(text)]
    return []


def odd_blank(found: re.Match[str]) -> str:
    """Return what is wrong with a character that looks like a space, or like nothing."""
    character = found[found.lastindex or 0]
    name = unicodedata.name(character, "invisible").lower()
    return f"the character U+{ord(character):04X} ({name}) is no space to YAML: use ordinary spaces"


def is_deep(text: str) -> bool:
    """Return whether brackets or dashes nest beyond what the parser will follow."""
    depth = 0
    for start in range(0, len(text), SHORT):  # piece by piece: the answer is often in the first
        steps = (_STEP[bracket] for bracket in _BRACKET.findall(text, start, start + SHORT))
        depths = list(accumulate(steps, initial=depth))
        if max(depths) > DEPTH:
            return True
        depth = depths[-1]
    return _DEEP_BLOCK.search(text) is not None


def at(chunk: Chunk, offset: int, sentence: str) -> Problem:
    """Return a problem at the character `offset` of the chunk."""
    before = chunk.text[:offset]
    line = before.count("\n") + 1
    return problem_at(chunk, Spot(line, offset - before.rfind("\n")), sentence)


def problem_at(chunk: Chunk, where: Spot, sentence: str) -> Problem:
    """Return a problem at a place counted from the start of the chunk."""
    return Problem(chunk.file.name, chunk.first_line + where.line - 1, where.column, sentence)


def explain(chunk: Chunk, message: str) -> list[Problem]:
    """Return in plain words why the parser refused the document."""
    control = _CONTROL.search(chunk.text)
    if control:
        return [at(chunk, control.start(), f"control character {control.group()!r}: remove it")]
    if "duplicate entry" in message:
        repeated = repeated_keys(chunk.text)
        if repeated:
            return [problem_at(chunk, where, f"`{key}` stands here twice, first in line"
                                             f" {first.line + chunk.first_line - 1}: keep one")
                    for where, key, first in repeated]
    if "unhashable" in message:
        return [problem_at(chunk, where, "a list or a mapping cannot be a key: write a word")
                for where in odd_keys(chunk.text)]
    match = _AT.search(message)
    where = Spot(int(match[1]), int(match[2])) if match else Spot(1, 1)
    return [problem_at(chunk, where, advice(chunk, where, message))]


def advice(chunk: Chunk, where: Spot, message: str) -> str:
    """Return what is wrong and what to write instead, for the parser's `message`."""
    line = [*chunk.text.split("\n"), ""][where.line - 1]
    if "cannot start any token" in message:
        if "\t" in line[:where.column]:
            return "a tab cannot indent YAML: use spaces"
        start = line[where.column - 1:where.column]
        return f"a value cannot begin with `{start}`: put it in quotes"
    for part, sentence in _ADVICE.items():
        if part in _AT.sub("", message):
            return sentence
    told = _AT.sub("", message.partition(", while")[0])
    return f"not valid YAML: {told}: check brackets, quotes and indentation here and just above"


def parse_json(file: SourceText) -> tuple[list[Parsed], list[Problem], list[Chunk]]:
    """Return the one document that a JSON file holds."""
    chunk = Chunk(file, 0, len(file.text), 1)
    try:
        value = json.loads(file.text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        problem = Problem(file.name, error.lineno, error.colno,
                          f"not valid JSON: {error.msg}: check brackets, quotes and commas here")
        return [], [problem], [chunk]
    except (ValueError, RecursionError) as error:
        told = str(error) if isinstance(error, ValueError) else _ADVICE["recursion limit"]
        repeated = repeated_keys(file.text) if "twice" in told else []
        where = repeated[0][0] if repeated else Spot(1, 1)
        return [], [problem_at(chunk, where, told)], [chunk]
    return [Parsed(chunk, value)], [], []


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the pairs as a mapping; a key that stands twice is refused."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`{twice}` stands here twice: keep one")
    return found


def _no_constant(word: str) -> object:
    """Refuse the numbers that JSON does not have."""
    raise ValueError(f"{word} is not a number of JSON: write a number")


def identify_text(chunk: Chunk) -> tuple[str | None, str | None]:
    """Return kind and name of a document that cannot be parsed, if its lines show them."""
    kind = _KIND_LINE.search(chunk.text)
    name = _NAME_LINE.search(chunk.text)
    return (kind[1] if kind and kind[1] in KINDS else None), (name[1] if name else None)

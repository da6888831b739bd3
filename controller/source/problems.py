"""Problems of specs: found by a path into a document, reported with file, line and column.

Rule 1: the loader knows paths, not positions. A position costs a second, slower parse of its
        document, which is done only for the problems that are shown.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from controller.errors import SpecError
from controller.source.positions import Path, locate

SHOWN = 100  # what a person may read; the rest is counted


@dataclass(frozen=True, slots=True, eq=False)
class SourceText:
    """The text of one file of specs."""

    name: str
    """Relative to the source, with slashes."""
    text: str


class Chunk(NamedTuple):
    """The part of a file that one document takes; `line` is where its content begins."""

    file: SourceText
    start: int
    end: int
    line: int

    @property
    def text(self) -> str:
        """Return the text of the document, its marker included."""
        return self.file.text[self.start:self.end]

    @property
    def place(self) -> str:
        """Return `file:line`."""
        return f"{self.file.name}:{self.line}"

    @property
    def first_line(self) -> int:
        """Return the number of the line on which the chunk starts."""
        return self.file.text.count("\n", 0, self.start) + 1


class Problem(NamedTuple):
    """One thing that is wrong, and where; sorts as a person reads.

    Shapes: line 0 means the file or folder as a whole; then no position is printed.
    """

    file: str
    line: int
    column: int
    sentence: str

    def __str__(self) -> str:
        place = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.file}{place}: {self.sentence}"


class Finding(NamedTuple):
    """One thing that is wrong in a document, with the path of the field."""

    chunk: Chunk
    path: Path
    sentence: str
    at_key: bool = False
    """The name of the field is meant, not its value."""


def place(finding: Finding) -> Problem:
    """Return the finding with its line and column."""
    chunk = finding.chunk
    if not finding.path:
        return Problem(chunk.file.name, chunk.line, 1, finding.sentence)
    found = locate(chunk.text, finding.path, at_key=finding.at_key)
    line, column = (chunk.line, 1) if found is None else found
    if found is not None:
        line += chunk.first_line - 1
    return Problem(chunk.file.name, line, column, finding.sentence)


def refuse(problems: Iterable[Problem], findings: Iterable[Finding]) -> SpecError:
    """Return the error that names the first hundred problems and counts the rest."""
    known = sorted(set(problems))
    rest = sorted(set(findings), key=lambda f: (f.chunk.file.name, f.chunk.start, str(f.path)))
    shown = sorted(known[:SHOWN] + [place(finding) for finding in rest[:SHOWN]])[:SHOWN]
    lines = [str(problem) for problem in shown]
    hidden = len(known) + len(rest) - len(shown)
    if hidden:
        lines.append(f"... and {hidden} more")
    return SpecError(tuple(lines))


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return what to write instead of `word`: the nearest of `known`, or some of them."""
    names = known if isinstance(known, list) else sorted(known)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if not near:  # differing in case alone is a typo too
        near = [name for name in names if name.lower() == word.lower()]
        near += difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"write `{near[0]}`"
    if not names:
        return "declare it first"
    more = f" ({len(names) - 8} more)" if len(names) > 8 else ""
    return f"write one of {', '.join(names[:8])}{more}"

"""Go a guide word by word: type what stands behind each `$`, and compare what is seen with what is
shown below it.

A guide is Markdown. Of its blocks those of the kind `console` count. `$ COMMAND` is typed at the
machine where hotsite is; what follows, up to the next one, is what a person sees. `…` stands for
anything within a line, and a line of `…` alone for any number of lines. Where a line ends with an
answer after a question, that is typed when the question is there.

Times, ages, sizes, fingerprints and revisions are never the same twice: where both sides have one,
they are alike. Everything else has to be there, and nothing else.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROMPT: Final = "$ "
ANYTHING: Final = "…"
ANSWER: Final = re.compile(r"^(?P<question>.*[?:\]]) (?P<answer>yes|y)$")
FLEETING: Final = (
    (re.compile(r"SHA256:[A-Za-z0-9+/]{43}"), "SHA256:…"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b[0-9a-f]{7,64}\b(?<=[0-9])|\b(?=[a-f]*[0-9])[0-9a-f]{7,64}\b"), "REVISION"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"\b\d\d:\d\d(:\d\d)?\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(B|[KMGT]iB)\b"), "SIZE"),
    (re.compile(r"\b(\d+(\.\d+)?(ms|s|m|h|d))+\b"), "AGE"),
    (re.compile(r"\s+"), " "),
)


class Typed(NamedTuple):
    """One command, and the lines that are shown below it."""

    line: int
    command: str
    shown: tuple[str, ...]


def steps_of(guide: Path) -> list[Typed]:
    """Return everything in a guide that a person types, in its order."""
    return [step for line, kind, body in blocks(guide.read_text().splitlines())
            if kind == "console" for step in typed_in(line, body)]


def blocks(lines: list[str]) -> Iterator[tuple[int, str, list[str]]]:
    """Yield each fenced block: the number of its first line, its kind, and its lines."""
    kind, first, body = None, 0, list[str]()
    for number, text in enumerate(lines, start=1):
        if not text.startswith("```"):
            body.append(text)
        elif kind is None:
            kind, first, body = text.removeprefix("```").strip(), number + 1, []
        else:
            yield first, kind, body
            kind = None


def typed_in(first: int, body: list[str]) -> Iterator[Typed]:
    """Yield the commands of a block; one that ends with a backslash goes on in the next line."""
    at = [index for index, text in enumerate(body) if text.startswith(PROMPT)]
    for begin, end in zip(at, [*at[1:], len(body)], strict=True):
        command, rest = body[begin].removeprefix(PROMPT), begin + 1
        while command.endswith("\\"):
            command, rest = f"{command}\n{body[rest]}", rest + 1
        yield Typed(first + begin, command, tuple(body[rest:end]))


def plain(text: str) -> str:
    """Return a line without what is never the same twice."""
    for pattern, word in FLEETING:
        text = pattern.sub(word, text)
    return text.strip()


def differs(shown: tuple[str, ...], seen: list[str]) -> str:
    """Return the first difference between what is shown and what was seen; empty if none."""
    wanted = [plain(one) for one in shown if one.strip()]
    got = [plain(one) for one in seen if one.strip()]
    reach = {0}  # how many of `got` may have been matched by the lines of `wanted` so far
    for index, line in enumerate(wanted):
        before = reach
        if line == ANYTHING:
            reach = set(range(min(reach), len(got) + 1))
        else:
            pattern = re.compile(".*".join(map(re.escape, line.split(ANYTHING))))
            reach = {at + 1 for at in reach if at < len(got) and pattern.fullmatch(got[at])}
        if not reach:
            near = got[max(before)] if max(before) < len(got) else "nothing more"
            return f"shown line {index + 1}: {line!r}, and seen: {near!r}"
    return "" if len(got) in reach else f"seen, and not shown: {got[max(reach)]!r}"

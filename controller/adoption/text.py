"""Spec documents as YAML text for people, with a comment wherever something was guessed.

A document is plain values: mappings, sequences and scalars. `Noted` around one of them brings a
comment, above it or beside it. What is written is read back as exactly the same values, whatever
text libvirt had in it: a string is left bare only where it can mean nothing else, and is otherwise
quoted, with each character that does not print as an escape. A comment has no other line than its
own: what does not print is escaped there, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

COLUMNS: Final = 96
_BARE: Final = re.compile(
    r"[A-Za-z_/][A-Za-z0-9_./-]*"                          # a word or a path
    r"|[0-9]+(\.[0-9]+)?([KMGT]i?B|B|ms|s|m|h|d|%)"        # a quantity with its unit
    r"|[0-9a-f]{2}(:[0-9a-f]{2}){5}"                       # a MAC
    r"|[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?")         # an address, a subnet
_NOT_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "y", "n"})
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Noted:
    """A value with a comment: lines above it, or words beside it."""

    value: Any
    above: tuple[str, ...] = ()
    beside: str = ""


def plain(value: Any) -> Any:
    """Return a value without any comment."""
    if isinstance(value, Noted):
        return plain(value.value)
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def render_file(documents: Sequence[Any], head: Sequence[str] = ()) -> str:
    """Return documents as the text of one file, `head` as the comment on its top."""
    top = "".join(f"{line}\n" for line in comment_lines(head, 0))
    return (top + "\n" if top and documents else top) + "---\n".join(
        render_document(one) for one in documents)


def render_document(document: Any) -> str:
    """Return one document as text."""
    noted = document if isinstance(document, Noted) else Noted(document)
    lines = [*comment_lines(noted.above, 0), *_block(noted.value, 0)]
    return "\n".join(lines) + "\n"


def comment_lines(lines: Sequence[str], indent: int) -> list[str]:
    """Return sentences as comment lines that are not too long."""
    found: list[str] = []
    for line in lines:
        found += [f"{' ' * indent}# {part}"
                  for part in wrap(printable(line), COLUMNS - indent, break_on_hyphens=False,
                                   break_long_words=False)] or [" " * indent + "#"]
    return found


def printable(text: str) -> str:
    """Return a text in which everything that does not print is escaped."""
    return "".join(one if one.isprintable() else _escape(one) for one in text)


def _block(mapping: Mapping[str, Any], indent: int) -> Iterator[str]:
    """Yield the lines of a mapping, one key a line."""
    for key, given in mapping.items():
        noted = given if isinstance(given, Noted) else Noted(given)
        yield from comment_lines(noted.above, indent)
        start, value = f"{' ' * indent}{scalar(key)}:", noted.value
        beside = f"  # {printable(noted.beside)}" if noted.beside else ""
        if isinstance(value, Mapping) and value and not _is_flat(value):
            yield start + beside
            yield from _block(value, indent + 2)
        elif isinstance(value, list | tuple) and any(
                isinstance(plain(one), Mapping) for one in value):
            yield start + beside
            yield from _items(value, indent + 2)
        else:
            yield f"{start} {flow(value)}{beside}"


def _items(values: Sequence[Any], indent: int) -> Iterator[str]:
    """Yield the lines of a sequence of mappings, one a line."""
    for given in values:
        noted = given if isinstance(given, Noted) else Noted(given)
        yield from comment_lines(noted.above, indent)
        beside = f"  # {printable(noted.beside)}" if noted.beside else ""
        yield f"{' ' * indent}- {flow(plain(noted.value))}{beside}"


def _is_flat(mapping: Mapping[str, Any]) -> bool:
    """Return whether a mapping is short enough for one line: scalars, without comments."""
    return len(mapping) <= 3 and not any(
        isinstance(one, Noted | Mapping | list | tuple) for one in mapping.values())


def flow(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def scalar(value: object) -> str:
    """Return one scalar as YAML 1.2 reads it back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = str(value)
    if _BARE.fullmatch(text) and text.lower() not in _NOT_WORDS:
        return text
    return f'"{"".join(_quoted(one) for one in text)}"'


def _quoted(character: str) -> str:
    """Return one character as it stands between double quotes."""
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else _escape(character)


def _escape(character: str) -> str:
    """Return the escape of a character that does not print."""
    number = ord(character)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

"""Every document of a source by kind and name, valid or not, for the cross-checks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from controller.model.desired import KINDS
from controller.model.document import Document
from controller.source.documents import Declared, InvalidDocument
from controller.source.positions import Path
from controller.source.problems import Chunk, Finding, suggestion

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class Entry(Generic[D]):
    """A document of one kind, and its place in the text."""

    document: D
    chunk: Chunk

    def wrong(self, sentence: str, *path: str | int, at_key: bool = False) -> Finding:
        """Return a finding about the field at `path`."""
        return Finding(self.chunk, path, sentence, at_key)


@dataclass(frozen=True, slots=True)
class Specs:
    """All documents. Invalid ones are known by name, so that references to them are not refused."""

    valid: dict[str, dict[str, Entry[Document]]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS})
    invalid: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    nameless: set[str] = field(default_factory=set)
    """Kinds with an invalid document whose name is unknown; `*` if its kind is unknown, too."""

    def of(self, model: type[D]) -> dict[str, Entry[D]]:
        """Return the valid documents of one kind by name."""
        return cast("dict[str, Entry[D]]", self.valid[model.__name__])

    def complete(self, kind: str) -> bool:
        """Return whether every document of the kind is valid, so that all names are known."""
        return not self.invalid[kind] and not self.nameless & {kind, "*"}

    def dangling(self, chunk: Chunk, kind: str, name: str, *path: str | int) -> Iterator[Finding]:
        """Yield the finding that nothing of that kind and name is declared."""
        if name in self.valid[kind] or name in self.invalid[kind] or self.nameless & {kind, "*"}:
            return
        known = self.valid[kind].keys() | self.invalid[kind]
        yield Finding(chunk, path, f"there is no {kind} `{name}`: {suggestion(name, known)}")


def gather(declared: Iterable[Declared], invalid: Iterable[InvalidDocument]) -> tuple[
        Specs, list[Finding]]:
    """Return all documents by kind and name, and a finding for each name declared twice."""
    specs = Specs()
    findings = []
    for document, chunk in declared:
        kind = type(document).__name__
        first = specs.valid[kind].setdefault(document.metadata.name, Entry(document, chunk))
        if first.document is not document:
            findings.append(Finding(chunk, NAME, f"a second {kind} `{document.name}`, first in"
                                                 f" {first.chunk.place}: rename one of them"))
    for identity in invalid:
        if identity.kind is None or identity.name is None:
            specs.nameless.add(identity.kind or "*")
        else:
            specs.invalid[identity.kind].add(identity.name)
    return specs, findings


NAME: Path = ("metadata", "name")

"""The checks on `formerly`: a former name belongs to one object, and to none that is declared."""

from collections.abc import Iterator

from controller.model.document import Document, Scope
from controller.source.problems import Finding
from controller.source.specs import Entry, Specs

NODES = ("Host", "Switch")
"""Kinds that share one set of names, because facts are stored by the name of a node."""


def check_renames(specs: Specs) -> Iterator[Finding]:
    """Yield former names that are still in use, doubled, or claimed by two objects."""
    for kind, entries in specs.valid.items():
        kinds = NODES if kind in NODES else (kind,)
        for entry in entries.values():
            yield from _check(specs, kind, kinds, entry)


def _check(specs: Specs, kind: str, kinds: tuple[str, ...],
           entry: Entry[Document]) -> Iterator[Finding]:
    scope = getattr(entry.document, "spec", None)
    formers = scope.formerly if isinstance(scope, Scope) else ()
    for index, former in enumerate(formers):
        path = ("spec", "formerly")
        if former == entry.document.name:
            yield entry.wrong(f"`formerly: {former}` is the name it has now: leave it out", *path)
            continue
        if former in formers[:index]:
            yield entry.wrong(f"`formerly` has {former} twice: leave one out", *path)
            continue
        for other_kind in kinds:
            if former in specs.valid[other_kind]:
                other = specs.valid[other_kind][former]
                yield entry.wrong(
                    f"{other_kind} `{former}` is declared ({other.chunk.place}), so {kind}"
                    f" `{entry.document.name}` cannot have been it: remove one of the two",
                    *path)
            elif former in specs.invalid[other_kind]:
                yield entry.wrong(f"{other_kind} `{former}` is declared, too: remove one of the"
                                  " two", *path)
        first = _first_heir(specs, kinds, former)
        if first is not None and first is not entry:
            yield entry.wrong(f"`{first.document.name}` says, too, that it was {former}"
                              f" ({first.chunk.place}): remove one of the two lines", *path)


def _first_heir(specs: Specs, kinds: tuple[str, ...], former: str) -> Entry[Document] | None:
    """Return the first object that names `former` as its former name."""
    for kind in kinds:
        for entry in specs.valid[kind].values():
            scope = getattr(entry.document, "spec", None)
            if isinstance(scope, Scope) and former in scope.formerly:
                return entry
    return None

"""Changes over a tree of specs: what a person's folder changes, and a tree with that in it.

A document is found by its kind and name, never by its line: commits that came meanwhile may have
moved it. Its text is replaced in the file in which it stands then; a document that is new goes to
the end of its file, and a file that holds no document any more is left out.

Nothing is written into the tree of a commit. A second tree is made beside it, of hard links, in
which the files that differ are other files.
"""

import os
import posixpath
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from controller.errors import SourceUnavailable, SpecError
from controller.model.desired import Desired
from controller.plan.break_glass.break_glass import GlassChange
from controller.source.problems import Chunk, SourceText
from controller.source.yaml import split

TEMPLATE: Final = "File/"
TEXT_CHARACTERS_MAX: Final = 1 << 20
_CONTENT: Final = re.compile(r"^(?!---\s*$)(?!\.\.\.\s*$)\s*[^\s#]", re.MULTILINE)

Declared = Mapping[str, str]
"""By target: a document as JSON, or the text of a template."""
Documents = Callable[[Desired], Declared]
"""How documents are written as JSON."""


def declared_in(tree: Path, desired: Desired, documents: Documents) -> dict[str, str]:
    """Return every document and template of a tree, by target.

    Errors: SourceUnavailable if a template cannot be read by now.
    """
    found = dict(documents(desired))
    for name in templates_of(desired):
        found[f"{TEMPLATE}{name}"] = read_text(tree / name)
    return found


def templates_of(desired: Desired) -> dict[str, tuple[str, ...]]:
    """Return the VMs that use each template file, by its name in the tree."""
    found: dict[str, tuple[str, ...]] = {}
    for name, vm in desired.virtual_machines.items():
        place = desired.places.get(f"VirtualMachine/{name}")
        if vm.spec.template is not None and place is not None:
            file = posixpath.normpath(posixpath.join(posixpath.dirname(place.file),
                                                     vm.spec.template))
            found[file] = (*found.get(file, ()), name)
    return found


def changes_of(edited: Path, later: Desired, before: Declared,
               after: Declared) -> tuple[GlassChange, ...]:
    """Return what a person's folder changes of a tree.

    Errors: SourceUnavailable if a file of it cannot be read by now; SpecError if that is too much.
    """
    texts: dict[str, str] = {}
    changes = []
    for target in sorted(before.keys() | after.keys()):
        was, now = before.get(target, ""), after.get(target, "")
        if was == now:
            continue
        if target.startswith(TEMPLATE):
            if now:     # one that nothing names any more stays where it is
                changes.append(GlassChange(target, target.removeprefix(TEMPLATE), was, now, now))
            continue
        place = later.places.get(target)
        text = ""
        if place is not None:
            if place.file not in texts:
                texts[place.file] = read_text(edited / place.file)
            text = chunk_at(texts[place.file], place.line, place.file).text
        changes.append(GlassChange(target, place.file if place else "", was, now, text))
    if sum(len(one.text) + len(one.before) for one in changes) > TEXT_CHARACTERS_MAX:
        raise SpecError((f"{len(changes)} objects differ from the specs in force, more than"
                         f" {TEXT_CHARACTERS_MAX >> 20} MiB of them: that is no break-glass but"
                         " another estate. Begin with `hotsite break-glass copy`",))
    return tuple(changes)


def files_with(tree: Path, desired: Desired,
               changes: Iterable[GlassChange]) -> dict[str, str | None]:
    """Return the files of a tree that changes make differ; None: it holds nothing any more.

    Errors: SourceUnavailable if the tree cannot be read by now.
    """
    files: dict[str, str | None] = {}
    texts: dict[str, str] = {}
    edits: dict[str, list[tuple[int, int, str]]] = {}
    added: list[GlassChange] = []
    for one in changes:
        place = desired.places.get(one.target)
        if one.target.startswith(TEMPLATE):
            files[one.file] = one.text
        elif place is None:
            added.append(one)
        else:
            text = texts.setdefault(place.file, read_text(tree / place.file))
            chunk = chunk_at(text, place.line, place.file)
            marked = one.text if chunk.start == 0 else with_marker(one.text)
            edits.setdefault(place.file, []).append((chunk.start, chunk.end, marked))
    for file, some in edits.items():
        text = texts[file]
        for start, end, new in sorted(some, reverse=True):
            text = text[:start] + closed(new, last=end == len(text)) + text[end:]
        files[file] = text if _CONTENT.search(text) else None
    for one in added:
        before = files.get(one.file) if one.file in files else (
            read_text(tree / one.file) if (tree / one.file).exists() else "")
        files[one.file] = joined(before or "", one.text)
    return files


def joined(before: str, text: str) -> str:
    """Return a file with one more document at its end."""
    if not before:
        return text
    return closed(before, last=False) + with_marker(text)


def with_marker(text: str) -> str:
    """Return a document that another one may stand before."""
    return text if not text or text.startswith("---") else f"---\n{text}"


def closed(text: str, *, last: bool) -> str:
    """Return a document that another one may follow."""
    return text if last or not text or text.endswith("\n") else f"{text}\n"


def chunk_at(text: str, line: int, file: str) -> Chunk:
    """Return the document at a line of a file.

    Errors: SourceUnavailable if there is none by now.
    """
    source = SourceText(file, text)
    if file.lower().endswith(".json"):
        return Chunk(source, 0, len(text), 1)
    for chunk in split(source):
        if chunk.line == line:
            return chunk
    raise SourceUnavailable(f"{file}:{line} is not what was read there: it was edited meanwhile."
                            " Try again")


def read_text(path: Path) -> str:
    """Return a file's text; its ends of lines stay as they are written, if all are the same.

    Errors: SourceUnavailable.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceUnavailable(f"{path} cannot be read: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def overlay(tree: Path, files: Mapping[str, str | None], into: Path) -> Path:
    """Make a tree that differs from another by some files, whole or not at all; return it.

    Errors: SourceUnavailable if it cannot be written.
    """
    part = into.with_name(f".{into.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copytree(tree, part, symlinks=True, copy_function=_link)
        for name, text in files.items():
            path = inside(part, name)
            path.unlink(missing_ok=True)    # never through the link, which is the commit's file
            if text is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline=_newline(tree / name))
        shutil.rmtree(into, ignore_errors=True)
        part.rename(into)
    except OSError as error:
        raise SourceUnavailable(f"break-glass cannot be laid over the specs in {into}:"
                                f" {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return into


def inside(root: Path, name: str) -> Path:
    """Return the place of a file below a folder.

    Errors: SpecError if that is not below it.
    """
    path = root / name
    if name.startswith("/") or ".." in Path(name).parts or (
            not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))):
        raise SpecError((f"{name}: a file outside the specs: break-glass writes none",))
    return path


def _link(source: str, target: str) -> str:
    """Link a file, or copy it where that is not possible."""
    with suppress(OSError):
        os.link(source, target, follow_symlinks=False)
        return target
    return str(shutil.copy2(source, target, follow_symlinks=False))


def _newline(path: Path) -> str:
    """Return how the lines of a file end; a newline where there is no such file."""
    try:
        with path.open("rb") as file:
            return "\r\n" if b"\r\n" in file.read(1 << 16) else "\n"
    except OSError:
        return "\n"


"""Load a folder of specs as the whole desired state, or name everything that is wrong with it.

    files ──► bytes ──► YAML ──► documents ──► cross-checks, templates ──► Desired, or SpecError

Each step goes on past a mistake, so that one run names all of them; the error comes at the end. A
file, document or name that could not be read is remembered as invalid: a reference to it is not
reported as dangling, and what is counted over all objects is not checked while one is unknown.

Parsing costs most. Files are therefore cached by the digest of their bytes; checks between
documents run every time. A load either returns a new Desired or raises: it changes nothing, and
the caller keeps the last good one. The revision of a folder is a hash of its contents, so that
touching a file is no new revision; that of a branch is its commit.
"""

import gc
import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from controller.model.desired import Desired, Place
from controller.model.document import Document
from controller.model.estate import Estate
from controller.model.host import Host
from controller.model.inter_site_link import InterSiteLink
from controller.model.network import Network
from controller.model.protection_policy import ProtectionPolicy
from controller.model.site import Site
from controller.model.switch import Switch
from controller.model.virtual_machine import VirtualMachine
from controller.model.witness import Witness
from controller.source.check.check import check
from controller.source.documents import FileDocuments, InvalidDocument, validate_all
from controller.source.files import TOTAL_BYTES, Found, find_files, pointer, read_file
from controller.source.problems import Finding, Problem, SourceText, refuse
from controller.source.specs import Entry, Specs, gather
from controller.source.templates import NotATemplate, fit_template, load_template
from controller.source.yaml import identify_text, parse_documents

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """The contents of one file, valid and invalid, with the digest of its bytes."""

    digest: bytes
    documents: FileDocuments
    problems: tuple[Problem, ...] = ()


def load_folder(path: Path, revision: str | None = None) -> Desired:
    """Return what the specs at `path` declare; `revision` defaults to a hash of their contents.

    Errors: SpecError with every problem as `file:line:column: what is wrong: what to write`.
    """
    return SpecCache().load(path, revision)


class SpecCache:
    """Loads the same source again and again; unchanged files are not parsed again."""

    def __init__(self) -> None:
        self._files: dict[str, LoadedFile] = {}

    def load(self, path: Path, revision: str | None = None) -> Desired:
        """Return what the specs at `path` declare now, complete and cross-checked.

        Errors: SpecError, as in `load_folder`; files that were parsed stay in the cache.
        """
        with gc_paused():
            listing = find_files(path)
            problems = list(listing.problems)
            files = self._read(listing.files, problems)
            specs, findings = gather(
                (item for file in files.values() for item in file.documents.declared),
                (item for file in files.values() for item in file.documents.invalid))
            for file in files.values():
                problems += file.problems
                findings += file.documents.findings
            findings += check(specs)
            root = path.resolve() if path.is_dir() else path.resolve().parent
            templates, wrong = load_templates(root, specs)
            findings += wrong
            problems += missing_estate(path, specs, problems)
            if problems or findings:
                raise refuse(problems, findings)
            used = template_files(specs)
            return desired(specs, templates, revision or revision_of(files, templates),
                           tuple(name for name in listing.not_read if name not in used))

    def _read(self, found: Iterable[Found], problems: list[Problem]) -> dict[str, LoadedFile]:
        """Return every file, parsed now or cached; files that cannot be read go to `problems`."""
        files: dict[str, LoadedFile] = {}
        total = 0
        for item in found:
            data = read_file(item)
            if isinstance(data, Problem):
                problems.append(data)
                continue
            total += len(data)
            if total > TOTAL_BYTES:
                problems.append(Problem(item.name, 0, 0, "the specs take more than"
                                        f" {TOTAL_BYTES >> 20} MiB: remove what is not a spec"))
                break
            digest = hashlib.blake2b(data, digest_size=16).digest()
            known = self._files.get(item.name)
            same = known is not None and known.digest == digest
            files[item.name] = known if known and same else load_file(item.name, data, digest)
        self._files = files
        return files


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection: it would walk a hundred thousand new values and free none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def load_file(name: str, data: bytes, digest: bytes) -> LoadedFile:
    """Return what one file declares, and everything that is wrong with it by itself."""
    elsewhere = pointer(data) if data.strip() else (
        "an empty file: restore its contents, or delete it if it should declare nothing")
    if elsewhere:
        problem = Problem(name, 0, 0, elsewhere)
        return LoadedFile(digest, FileDocuments(invalid=(InvalidDocument(None, None),)), (problem,))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[:error.start].decode("utf-8", "replace")
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = Problem(name, *place, f"byte {data[error.start]:#04x} is not UTF-8: save the file"
                                        " as UTF-8")
        return LoadedFile(digest, FileDocuments(invalid=(InvalidDocument(None, None),)), (problem,))
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    parsed, problems, broken = parse_documents(SourceText(name, text))
    documents = validate_all(parsed)
    if broken:
        unreadable = tuple(InvalidDocument(*identify_text(chunk)) for chunk in broken)
        documents = replace(documents, invalid=documents.invalid + unreadable)
    return LoadedFile(digest, documents, tuple(problems))


def missing_estate(path: Path, specs: Specs, problems: list[Problem]) -> list[Problem]:
    """Return the problem that no Estate is declared, unless something unreadable may be one."""
    if specs.valid["Estate"] or not specs.complete("Estate"):
        return []
    if any(specs.valid.values()) or any(specs.invalid.values()):
        return [Problem(path.name or str(path), 0, 0, "no Estate is declared: add a document with"
                                         " `kind: Estate`")]
    if problems:
        return []
    return [Problem(path.name or str(path), 0, 0, "no specs here: add files that end in .yaml,"
                                                  " .yml or .json")]


def load_templates(root: Path, specs: Specs) -> tuple[dict[str, str], list[Finding]]:
    """Return the template text of each VM that names one, and findings about unusable templates."""
    texts: dict[tuple[str, str], str | NotATemplate] = {}
    templates: dict[str, str] = {}
    findings = []
    for name, entry in specs.of(VirtualMachine).items():
        template = entry.document.spec.template
        if template is None:
            continue
        key = (entry.chunk.file.name.rpartition("/")[0], template)
        if key not in texts:
            texts[key] = load_template(root, entry.chunk.file.name, template)
        text = texts[key]
        if isinstance(text, str):
            names = [disk.name for disk in entry.document.spec.disks]
            text = fit_template(text, names) or text
        if isinstance(text, NotATemplate):
            findings.append(entry.wrong(f"template `{template}` {text.sentence}",
                                        "spec", "template"))
        else:
            templates[name] = text
    return templates, findings


def revision_of(files: Mapping[str, LoadedFile], templates: Mapping[str, str]) -> str:
    """Return the revision of these contents: a short hash."""
    whole = hashlib.blake2b(digest_size=6)
    for name in sorted(files):
        whole.update(name.encode("utf-8", "surrogateescape") + b"\0" + files[name].digest)
    for text in sorted(set(templates.values())):
        whole.update(hashlib.blake2b(text.encode(), digest_size=16).digest())
    return whole.hexdigest()


def template_files(specs: Specs) -> frozenset[str]:
    """Return the template files that VMs name, relative to the source."""
    named = ((entry.chunk.file.name, entry.document.spec.template)
             for entry in specs.of(VirtualMachine).values())
    return frozenset(posixpath.normpath(posixpath.join(posixpath.dirname(file), template))
                     for file, template in named if template is not None)


def desired(specs: Specs, templates: Mapping[str, str], revision: str,
            not_read: tuple[str, ...]) -> Desired:
    """Return the whole declared state, each kind sorted by name."""
    places = {f"{kind}/{name}": Place(entry.chunk.file.name, entry.chunk.line)
              for kind, entries in specs.valid.items() for name, entry in entries.items()}
    return Desired(
        revision=revision, estate=next(iter(specs.of(Estate).values())).document,
        sites=by_name(specs.of(Site)), switches=by_name(specs.of(Switch)),
        inter_site_links=by_name(specs.of(InterSiteLink)), hosts=by_name(specs.of(Host)),
        networks=by_name(specs.of(Network)),
        virtual_machines=by_name(specs.of(VirtualMachine)),
        protection_policies=by_name(specs.of(ProtectionPolicy)),
        places=places, templates=templates, not_read=not_read,
        witnesses=by_name(specs.of(Witness)))


def by_name(entries: Mapping[str, Entry[D]]) -> dict[str, D]:
    """Return the documents of one kind in the order of their names."""
    return {name: entries[name].document for name in sorted(entries)}

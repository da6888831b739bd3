"""Turn plain values into documents of their kinds, or into sentences that say what is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from controller.model.desired import KINDS
from controller.model.estate import Estate
from controller.model.host import Host
from controller.model.inter_site_link import InterSiteLink
from controller.model.network import Network
from controller.model.protection_policy import ProtectionPolicy
from controller.model.site import Site
from controller.model.switch import Switch
from controller.model.virtual_machine import VirtualMachine
from controller.model.witness import Witness
from controller.source.problems import Chunk, Finding, suggestion
from controller.source.sentences import explain_errors, shown, type_of
from controller.source.yaml import Parsed

AnyDocument = (
    Estate | Site | Switch | InterSiteLink | Host | Network | VirtualMachine | ProtectionPolicy
    | Witness
)
ALL: TypeAdapter[list[AnyDocument]] = TypeAdapter(
    list[Annotated[AnyDocument, Field(discriminator="kind")]])


class Declared(NamedTuple):
    """One valid document and where it stands."""

    document: AnyDocument
    chunk: Chunk


class InvalidDocument(NamedTuple):
    """Kind and name of an invalid document; None where its text does not tell."""

    kind: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class FileDocuments:
    """The documents of one file: the valid ones, what is wrong, and the invalid ones."""

    declared: tuple[Declared, ...] = ()
    findings: tuple[Finding, ...] = ()
    invalid: tuple[InvalidDocument, ...] = ()


def validate_all(parsed: Iterable[Parsed]) -> FileDocuments:
    """Return the documents of one file, and what is wrong with the invalid ones."""
    items = list(parsed)
    try:
        documents = ALL.validate_python(list(map(attrgetter("value"), items)))
    except ValidationError:
        return validate_each(items)
    return FileDocuments(tuple(Declared(document, item.chunk)
                         for document, item in zip(documents, items, strict=True)))


def validate_each(items: Iterable[Parsed]) -> FileDocuments:
    """Do the same one document at a time, so that each error is of a known document."""
    declared: list[Declared] = []
    findings: list[Finding] = []
    invalid: list[InvalidDocument] = []
    for chunk, value in items:
        wrong = envelope(chunk, value)
        if not wrong:
            try:
                declared.append(Declared(ALL.validate_python([value])[0], chunk))
                continue
            except ValidationError as error:
                details: list[Any] = error.errors(include_url=False)
                for detail in details:
                    detail["loc"] = detail["loc"][2:]
                wrong = explain_errors(chunk, value, details)
        findings += wrong
        invalid.append(identify(value))
    return FileDocuments(tuple(declared), tuple(findings), tuple(invalid))


def envelope(chunk: Chunk, value: object) -> list[Finding]:
    """Return what is wrong with the outermost shape: no mapping, or no known kind."""
    if value is None:
        return [Finding(chunk, (), "an empty document: remove the extra `---` or fill it in")]
    if not isinstance(value, dict):
        return [Finding(chunk, (), f"{type_of(value)} where a document should be: write"
                                   " `kind:`, `metadata:` and `spec:`")]
    if "kind" not in value:
        return [Finding(chunk, (), f"`kind` is missing: write one of"
                                   f" {', '.join(KINDS)}")]
    kind = value["kind"]
    if not isinstance(kind, str) or kind not in KINDS:
        return [Finding(chunk, ("kind",), f"unknown kind `{shown(kind)}`:"
                                          f" {suggestion(str(kind), KINDS)}")]
    return []


def identify(value: object) -> InvalidDocument:
    """Return kind and name of an invalid document, where it has them."""
    if not isinstance(value, dict):
        return InvalidDocument(None, None)
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    kind = value.get("kind")
    return InvalidDocument(kind if isinstance(kind, str) and kind in KINDS else None,
                    name if isinstance(name, str) else None)

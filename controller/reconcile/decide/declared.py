"""Every document in force, as it was written, for readers of the store."""

from collections.abc import Mapping

from controller.model.desired import Desired
from controller.model.document import Document
from controller.store.for_readers.declared import DeclaredDocument


def documents_of(desired: Desired) -> dict[str, DeclaredDocument]:
    """Return every document by `Kind/name`; what its author left out is left out."""
    kinds: tuple[Mapping[str, Document], ...] = (
        {desired.estate.name: desired.estate}, desired.sites, desired.switches,
        desired.inter_site_links, desired.hosts, desired.networks, desired.virtual_machines,
        desired.protection_policies, desired.witnesses)
    return {
        (target := f"{type(document).__name__}/{name}"): DeclaredDocument(
            str(desired.places.get(target, "")),
            document.model_dump(mode="json", by_alias=True, exclude_unset=True))
        for documents in kinds for name, document in documents.items()}

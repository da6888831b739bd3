"""A site: one of the two rooms, and its twin."""

from typing import Literal

from controller.model.document import Document, Name, Scope


class SiteSpec(Scope):
    """One room with its own power and its own switch."""

    twin: Name | None = None
    """The site that must be able to take over from this one; the twin must name this one back."""


class Site(Document):
    """One of the rooms."""

    kind: Literal["Site"] = "Site"
    spec: SiteSpec = SiteSpec()

"""An inter-site link: several members that carry every stretched VLAN between two sites."""

from typing import Literal

from pydantic import Field

from controller.model.document import Document, Name, Scope, Spec
from controller.model.units import DurationS, RateBps, Share


class SlaSpec(Spec):
    """What was bought from the carrier."""

    rtt_s: DurationS | None = Field(default=None, alias="rtt")
    loss: Share | None = None


class InterSiteLinkSpec(Scope):
    """Redundant members between two sites."""

    between: tuple[Name, Name]
    members: int = Field(default=2, ge=1, le=64, strict=True)
    minimum_members: int = Field(default=1, ge=1, strict=True)
    """Below this many members up the sites count as not connected."""
    sla: SlaSpec = SlaSpec()
    replication_bandwidth_bps: RateBps | None = Field(
        default=None, alias="replicationBandwidth", gt=0)
    """What all copies over this link may take together; unset: as much as they can."""


class InterSiteLink(Document):
    """The link between two sites."""

    kind: Literal["InterSiteLink"] = "InterSiteLink"
    spec: InterSiteLinkSpec

"""What a switch drops on our order: frames of old copies of VMs that were promoted elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class DroppedAddress:
    """One source address that does not pass into a bridge by one port."""

    bridge: str
    port: str
    mac: str
    """In lower case."""
    epoch: int
    """Of the failover that wanted it."""

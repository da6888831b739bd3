"""What an import leaves as it is, and why: one row of the table at its end."""

from typing import NamedTuple


class Observed(NamedTuple):
    """Something that is seen and neither managed nor replicated."""

    target: str
    """`VirtualMachine/…` or `Host/…`."""
    what: str
    why: str

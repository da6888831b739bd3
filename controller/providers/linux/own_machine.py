"""What the firmware of the controller's own machine says of it."""

from pathlib import Path
from typing import Final

PRODUCT_UUID: Final = Path("/sys/class/dmi/id/product_uuid")


def own_product_uuid(path: Path = PRODUCT_UUID) -> str:
    """Return the system UUID of this machine; empty where it has none, or only root may read it."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""

"""What guests this machine can run, as libvirt tells it: machine types and processor models."""

import json
import time
import xml.etree.ElementTree as ET

from programs import VIRSH, Silent, run_all

AGAIN_S = 3600.0        # a package that is put in place is seen by then
MISSED_S = 60.0


class Capabilities:
    """Asks libvirt now and then; between two questions it says what it was told last."""

    def __init__(self) -> None:
        self.told, self.until = Silent("its capabilities were not asked for yet"), 0.0

    def text(self) -> "str | Silent":
        """Return machine types and usable processor models as JSON, or why they are not known."""
        if time.monotonic() >= self.until:
            said = run_all({"guests": (*VIRSH, "capabilities"),
                            "models": (*VIRSH, "domcapabilities")})
            try:
                self.told = json.dumps({
                    "machines": machines_of(said["guests"].out),
                    "models": models_of(said["models"].out)})
                self.until = time.monotonic() + AGAIN_S
            except ET.ParseError:
                why = said["guests"].err.decode(errors="replace").strip() or "it said nothing"
                self.told = Silent(f"libvirt does not tell what guests it can run ({why})")
                self.until = time.monotonic() + MISSED_S
        return self.told


def machines_of(text: bytes) -> list:
    """Return every name of a machine type that a full guest may have."""
    names = set()
    for machine in ET.fromstring(text).findall("guest/arch/machine"):
        names |= {machine.text or "", machine.get("canonical") or ""}
    return sorted(names - {""})


def models_of(text: bytes) -> list:
    """Return the processor models that can be had here; none where libvirt does not say."""
    if not text.strip():
        return []
    return sorted({model.text or "" for model in ET.fromstring(text).findall(
        "cpu/mode[@name='custom']/model") if model.get("usable") != "no"})

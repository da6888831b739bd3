"""Which guests this machine can run: libvirt's machine types, processor models and firmware."""

import json
import time
import xml.etree.ElementTree as ET

from programs import VIRSH, NoAnswer, run_all

REFRESH_S = 3600.0      # within an hour a newly installed package is seen
RETRY_S = 60.0          # after an answer that could not be understood


class Capabilities:
    """Asks libvirt once an hour and returns its last answer in between."""

    def __init__(self) -> None:
        self.answer, self.until = NoAnswer("its capabilities were not asked for yet"), 0.0

    def text(self) -> "str | NoAnswer":
        """Return machine types, usable processor models and firmware as JSON, or why not."""
        if time.monotonic() >= self.until:
            outputs = run_all({"guests": (*VIRSH, "capabilities"),
                               "models": (*VIRSH, "domcapabilities"),
                               "secure": (*VIRSH, "domcapabilities", "--machine", "q35")})
            try:
                self.answer = json.dumps({
                    "machines": machines_of(outputs["guests"].out),
                    "models": models_of(outputs["models"].out),
                    "loaders": loaders_of(outputs["models"].out, outputs["secure"].out),
                    "tpms": tpms_of(outputs["models"].out, outputs["secure"].out)})
                self.until = time.monotonic() + REFRESH_S
            except ET.ParseError:
                why = outputs["guests"].err.decode(errors="replace").strip() or "no output"
                self.answer = NoAnswer(f"libvirt does not tell what guests it can run ({why})")
                self.until = time.monotonic() + RETRY_S
        return self.answer


def machines_of(text: bytes) -> list:
    """Return every name of each machine type."""
    names = set()
    for machine in ET.fromstring(text).findall("guest/arch/machine"):
        names |= {machine.text or "", machine.get("canonical") or ""}
    return sorted(names - {""})


def models_of(text: bytes) -> list:
    """Return the processor models that a guest may have here; none where libvirt does not say."""
    if not text.strip():
        return []
    return sorted({model.text or "" for model in ET.fromstring(text).findall(
        "cpu/mode[@name='custom']/model") if model.get("usable") != "no"})


def loaders_of(*texts: bytes) -> list:
    """Return the files of firmware that libvirt lists, which are those that are there.

    Source: libvirt.org/formatdomaincaps.html, the loader's `value`.
    """
    return sorted({(value.text or "").strip() for text in texts if text.strip()
                   for value in ET.fromstring(text).findall("os/loader/value")} - {""})


def tpms_of(*texts: bytes) -> list:
    """Return what a guest's TPM may be made of, such as emulator; none where libvirt is silent."""
    return sorted({(value.text or "").strip() for text in texts if text.strip()
                   for value in ET.fromstring(text).findall(
                       "devices/tpm/enum[@name='backendModel']/value")} - {""})

"""What guests a host can run: what decides whether a VM could come back there."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What guests a host can run, as its libvirt says, sorted."""

    machines: tuple[str, ...]
    """Machine types, under every name."""
    models: tuple[str, ...]
    """Processor models that a guest may ask for; empty where libvirt does not say."""
    loaders: tuple[str, ...] = ()
    """Files of firmware that libvirt knows and that are there; empty where it does not say."""
    tpms: tuple[str, ...] = ()
    """What a guest's TPM may be made of: emulator, passthrough; empty where it does not say."""

"""What a checkup goes by: for each host its spec, its facts, its key, its probes and its BMC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.adoption.host_keys import HostKey, KeyVerdict
from controller.model.desired import Desired
from controller.model.facts import Fact, Known, NodeFacts
from controller.model.failover.power import PowerFacts
from controller.model.host import HostSpec

Probe = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checkup:
    """One host as it was looked at."""

    name: str
    spec: HostSpec
    user: str
    port: int
    key: KeyVerdict
    """Whether the key that it shows is the one that is known."""
    facts: Fact[NodeFacts]
    shown: HostKey | None = None
    probes: Mapping[str, Probe] = field(default_factory=dict)
    python: tuple[int, ...] = ()
    """Empty where it did not answer."""
    hostname: str = ""
    trouble: str = ""
    """Why it was not probed; empty if it was."""
    late: bool = False
    """Whether it was only slow: then nothing is known of it."""
    power: Fact[PowerFacts] | None = None
    """None where no BMC is declared."""
    known_hosts: str = ""
    """The file of host keys that logins go by."""
    key_file: str = ""
    """The private key that logs in."""

    @property
    def about(self) -> str:
        """Return what its findings are about."""
        return f"Host/{self.name}"

    @property
    def seen(self) -> NodeFacts | None:
        """Return its facts, if they are known."""
        return self.facts.value if isinstance(self.facts, Known) else None

    @property
    def replication(self) -> str:
        """Return the address that copies go to."""
        return self.spec.replication_address or self.spec.address

    def probe(self, name: str) -> Probe:
        """Return what a probe found; one that was not made is unknown, and says why."""
        found = self.probes.get(name)
        return {"unknown": self.trouble or "it was not tried"} if found is None else found


@dataclass(frozen=True, slots=True)
class Ward:
    """Everything that is looked at together."""

    desired: Desired
    checkups: Mapping[str, Checkup]
    """By host."""

"""One object as a row: what is declared of it, what was seen of it, and how well it is."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.model.condition import Condition
from controller.model.facts import NodeFacts
from controller.model.units import parse_duration_s
from controller.reconcile.inspect.inventory import value_of
from controller.reconcile.inspect.level import state_of
from controller.reconcile.inspect.machines import Machines
from controller.store.for_readers.declared import DeclaredDocument

Row = dict[str, Any]


class Declared:
    """What the documents in force say."""

    def __init__(self, documents: Mapping[str, DeclaredDocument]) -> None:
        self._documents = documents

    def spec(self, kind: str, name: str | None) -> Mapping[str, Any]:
        """Return the spec of an object, as its author wrote it; empty where there is none."""
        document = self._documents.get(f"{kind}/{name}")
        return {} if document is None else document.content.get("spec") or {}

    def rpo_s(self, policy: str | None) -> float | None:
        """Return how old the newest restore point may be under a policy."""
        rpo = self.spec("ProtectionPolicy", policy).get("rpo")
        if isinstance(rpo, (int, float)):
            return float(rpo)
        try:
            return None if rpo is None else parse_duration_s(rpo)
        except ValueError:
            return None


def row_of(kind: str, name: str, document: DeclaredDocument, conditions: Sequence[Condition],
           declared: Declared, facts: NodeFacts | None, answer: Mapping[str, Any],
           machines: Machines) -> Row:
    """Return the row of one object; `answer` is whether its node answers, if it is one."""
    spec = document.content.get("spec") or {}
    state = state_of(conditions)
    row: Row = {"kind": kind, "name": name, "level": state.level.value,
                "sentence": state.sentence, "since_at": state.since_at,
                "place": document.place}
    if kind in {"Host", "Switch", "Witness"}:
        row |= {"site": spec.get("site") or spec.get("place"),
                "answers": answer.get("state") == "known"}
    if kind == "Host":
        row |= host_fields(name, spec, facts, machines)
    if kind == "VirtualMachine":
        row |= machine_fields(name, spec, declared, machines)
    if kind == "Network":
        row |= {"vlan": spec.get("vlan"), "sites": spec.get("sites") or []}
    return row


def host_fields(name: str, spec: Mapping[str, Any], facts: NodeFacts | None,
                machines: Machines) -> Row:
    """Return what a host's row has of its own; what was never seen is None."""
    hardware = None if facts is None else value_of(facts.hardware)
    used = None if hardware is None else hardware.memory_bytes - hardware.memory_available_bytes
    return {"maintenance": bool(spec.get("maintenance")),
            "running": None if facts is None else machines.running_on(name),
            "cpus": hardware and hardware.cpus,
            "load": None if hardware is None else round(hardware.load_1m, 1),
            "memory_bytes": hardware and hardware.memory_bytes,
            "used_bytes": used if used is None else used // (64 << 20) * (64 << 20)}


def machine_fields(name: str, spec: Mapping[str, Any], declared: Declared,
                   machines: Machines) -> Row:
    """Return what a VM's row has of its own; `site` is where it was last seen, else declared."""
    copy = machines.copy_of(name, str(spec.get("domain") or name))
    placement = spec.get("placement") or {}
    policy = spec.get("protection")
    host = copy.node if copy else placement.get("host")
    return {"host": copy and copy.node, "power": copy and copy.domain.state.value,
            "site": declared.spec("Host", host).get("site") or placement.get("site"),
            "policy": policy, "rpo_s": declared.rpo_s(policy), "point_at": machines.point_at(name),
            "networks": sorted({nic["network"] for nic in spec.get("nics") or ()
                                if nic.get("network")})}

"""Saved plans: a plan as a file, refused once the specs or the facts have moved.

Rule 1: the digest of the facts leaves out what changes by itself: load, free space, clocks, ages
        and restore points.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from functools import cache
from hashlib import sha256
from typing import Any, Final

from controller.errors import SpecError
from controller.model.condition import Condition, ConditionType, Status
from controller.model.facts import Fact, Known, NodeFacts, Observed, Ownership, Role
from controller.model.failover import guard, record
from controller.model.replica import Leftover, LeftoverKind
from controller.plan.actions import (
    action,
    desired,
    failover,
    fencing,
    guarding,
    machine,
    network,
    promotion,
    storage,
)
from controller.plan.actions import replica as replica_actions
from controller.plan.actions.action import Action, Cause
from controller.plan.actions.replica import CopyMode
from controller.plan.steps.plan import Plan, Remark, Ruling, Step, Verdict
from controller.plan.survey.silence import last_of

VERSION: Final = 2
MAPPING: Final = "mapping"
PLAIN: Final = frozenset({str, int, float, bool, type(None)})
SHAPES: Final[dict[str, type[Any]]] = {
    name: shape for module in (
        action, desired, failover, fencing, guard, guarding, machine, network, promotion, record,
        replica_actions, storage)
    for name, shape in sorted(vars(module).items())
    if isinstance(shape, type) and is_dataclass(shape)
} | {"Leftover": Leftover, "Ownership": Ownership, "Remark": Remark, "Ruling": Ruling,
     "Condition": Condition}
WORDS: Final[dict[str, type[Enum]]] = {
    "cause": Cause, "verdict": Verdict, "status": Status, "type": ConditionType,
    "mode": CopyMode, "kind": LeftoverKind, "role": Role,
}
"""By field name: the enumeration that its values belong to."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan read from a file, and the digest of the facts that it was made from."""

    plan: Plan
    facts: str


def plan_to_json(plan: Plan, observed: Observed) -> str:
    """Return a plan as the text of a file."""
    nodes = sorted({node for step in plan.steps for node in step.action.nodes})
    return json.dumps({
        "hotsitePlan": VERSION, "revision": plan.revision, "facts": facts_digest(observed, nodes),
        "nodes": nodes,
        "steps": [{"action": to_value(step.action), "after": list(step.after),
                   "ruling": to_value(step.ruling)} for step in plan.steps],
        "remarks": [to_value(remark) for remark in plan.remarks],
        "conditions": [to_value(condition) for condition in plan.conditions],
        "due_at": plan.due_at,
    }, indent=1) + "\n"


def plan_from_json(text: str) -> SavedPlan:
    """Return the plan in a file.

    Errors: SpecError if it is no plan file, or of another version.
    """
    try:
        value = json.loads(text)
        if value["hotsitePlan"] != VERSION:
            raise SpecError((f"this plan file has version {value['hotsitePlan']!r} and {VERSION}"
                             " is understood: make it again with `hotsite plan --out`",))
        steps = tuple(Step(action_from_value(step["action"]), tuple(step["after"]),
                           _from_value(step["ruling"])) for step in value["steps"])
        return SavedPlan(
            Plan(value["revision"], steps, tuple(_from_value(one) for one in value["remarks"]),
                 tuple(_from_value(one) for one in value["conditions"]), value.get("due_at")),
            value["facts"])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise SpecError((f"this is no plan file that `hotsite plan --out` wrote: {error!r}",)) \
            from error


def stale(saved: SavedPlan, desired_revision: str, observed: Observed) -> str | None:
    """Return why a saved plan no longer holds; None while specs and facts are as they were."""
    again = "make it again with `hotsite plan --out`"
    if saved.plan.revision != desired_revision:
        return (f"the plan was made for {saved.plan.revision} and the specs are at"
                f" {desired_revision} now: {again}")
    nodes = sorted({node for step in saved.plan.steps for node in step.action.nodes})
    if saved.facts != facts_digest(observed, nodes):
        return f"what is seen on {', '.join(nodes)} is not what the plan was made from: {again}"
    return None


def facts_digest(observed: Observed, nodes: list[str]) -> str:
    """Return a digest that differs when anything on `nodes` differs that the plan depends on."""
    digest = sha256()
    for name in sorted(nodes):
        fact = observed.nodes.get(name)
        digest.update(repr((name, isinstance(fact, Known),
                            None if fact is None else _lasting(fact))).encode())
    return digest.hexdigest()[:32]


def _lasting(fact: Fact[NodeFacts]) -> object:
    node = last_of(fact)
    if node is None:
        return None
    hardware = last_of(node.hardware)
    domains, pools, bridges = (last_of(node.domains) or {}, last_of(node.pools) or {},
                               last_of(node.bridges) or {})
    interfaces, links = last_of(node.interfaces) or {}, last_of(node.links)
    return (
        node.boot_id, hardware and (hardware.cpus, hardware.memory_bytes),
        [type(part).__name__ for part in (node.domains, node.pools, node.bridges)],
        [replace(domains[one], checkpoints=()) for one in sorted(domains)],
        [(one, pools[one].path, pools[one].active, sorted(pools[one].volumes))
         for one in sorted(pools)],
        sorted((one.name, one.addresses, one.master) for one in interfaces.values()),
        [(one, bridges[one].rstp_enabled, [(port, seen.tag, seen.trunks, seen.vlan_mode)
                for port, seen in sorted(bridges[one].ports.items())])
         for one in sorted(bridges)],
        links and (sorted(links.links.values(), key=lambda one: one.name), sorted(
            (port, sorted(one.tagged), sorted(one.untagged), one.pvid)
            for port, one in links.vlans.items()), sorted(links.networks.items())))


def to_value(value: Any) -> Any:
    """Return a frozen value as plain JSON values; a dataclass has its name under `is`."""
    shape = type(value)
    if shape in PLAIN:      # most are: the loop writes its plan down at every turn
        return value
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(shape):
        return {"is": shape.__name__} | {
            name: to_value(getattr(value, name)) for name in _names(shape)}
    if isinstance(value, tuple | list):
        return [to_value(one) for one in value]
    if isinstance(value, Mapping):
        return {"is": MAPPING, "of": {name: to_value(one) for name, one in value.items()}}
    return value


@cache
def _names(shape: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(shape))


def action_from_value(value: Any) -> Action:
    """Return the action that `to_value` turned into plain values.

    Errors: ValueError, KeyError or TypeError if it is none.
    """
    action = _from_value(value)
    if not isinstance(action, Action):
        raise ValueError(f"{value!r} is no action")
    return action


def _from_value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_from_value(one) for one in value)
    if not isinstance(value, dict):
        return value
    if value["is"] == MAPPING:
        return {name: _from_value(one) for name, one in value["of"].items()}
    shape = SHAPES[value["is"]]
    names = {field.name for field in fields(shape)}
    if not names >= value.keys() - {"is"}:
        raise ValueError(f"{value['is']} has no {', '.join(sorted(value.keys() - names))}")
    parts = {name: WORDS[name](part) if name in WORDS else _from_value(part)
             for name, part in value.items() if name != "is"}
    return shape(**parts)

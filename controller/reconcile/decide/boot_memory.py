"""Boots, remembered: what the last failover took for each VM, for the prediction of the next one.

Rule 1: they are read from the journal, where each promotion is, and kept when that has forgotten.
Rule 2: they hold nothing back and allow nothing: without them times are assumed, and said to be.
"""

import json
from collections.abc import Mapping
from typing import Final

from controller.model.condition import ConditionType, Status
from controller.plan.prediction.measured import Started, boots_of
from controller.plan.steps.plan import Plan
from controller.plan.survey.context import Boot
from controller.store.memory import Memory
from controller.store.store import Store

WATCHED_S: Final = 3600.0
"""A VM that is healthy only so long after its start has become so by other means."""


class BootMemory:
    """How long each VM took to start, and until it was healthy."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._boots: dict[str, Boot] = {}
        self._saved: Mapping[str, str] = {}

    @property
    def boots(self) -> Mapping[str, Boot]:
        """Return how long the last start of each VM took."""
        return self._boots

    def read(self) -> None:
        """Read what earlier processes saved.

        Errors: JournalUnavailable; the last values stay.
        """
        self._saved = self._store.remembered(Memory.BOOT)
        self._boots = {name: boot for name, text in self._saved.items()
                       if (boot := parse_boot(text)) is not None}

    def learn(self, starts: tuple[Started, ...]) -> None:
        """Take over promotions that were done."""
        self._boots |= boots_of(starts, self._boots)

    def record(self, plan: Plan, now_s: float) -> None:
        """Note which VMs have become healthy since their start, and save what is new.

        Errors: JournalUnavailable; it is written after the next decision.
        """
        open_ones = {f"VirtualMachine/{name}": name for name, boot in self._boots.items()
                     if boot.boot_s is None and 0 <= now_s - boot.at < WATCHED_S}
        for one in plan.conditions if open_ones else ():
            if (one.type is ConditionType.HEALTHY and one.status is Status.TRUE
                    and one.target in open_ones):
                name = open_ones[one.target]
                boot = self._boots[name]
                self._boots[name] = Boot(boot.start_s, boot.at, now_s - boot.at)
        news = {name: text for name, boot in self._boots.items()
                if self._saved.get(name) != (text := render_boot(boot))}
        self._store.remember(Memory.BOOT, news)
        self._saved = {**self._saved, **news}


def render_boot(boot: Boot) -> str:
    """Return a boot as JSON."""
    return json.dumps([round(boot.start_s, 3), boot.at,
                       None if boot.boot_s is None else round(boot.boot_s, 3)])


def parse_boot(text: str) -> Boot | None:
    """Return a boot from its JSON; None if it is not one."""
    try:
        start_s, at, boot_s = json.loads(text)
        return Boot(float(start_s), float(at), None if boot_s is None else float(boot_s))
    except (TypeError, ValueError):
        return None

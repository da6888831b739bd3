"""Mistakes in what decides: each is planted into the real code, and the storms must find it."""

import pytest

from controller.failover import decide, fencing, quorum, signals, waves
from controller.failover.situation import HostSituation, Situation, View
from controller.model.failover.spec import GuardSpec


def silence_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that is silent or late counts as one that hears nobody."""
    def confirms(view: View, host: str, situation: Situation) -> bool:
        """It does, unless it hears the host."""
        return not quorum.is_fresh(view, situation) or not quorum.hears(view, host, situation)

    monkeypatch.setattr(quorum, "confirms", confirms)


def silent_grantors_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grantor that cannot be asked counts as one that refuses for long enough."""
    whole = fencing._against_grants

    def against(host: HostSituation, trial: fencing.Trial) -> object:
        """Only what those say that can be asked."""
        return (why for why in whole(host, trial) if "cannot be asked" not in why)

    monkeypatch.setattr(fencing, "_against_grants", against)
    monkeypatch.setattr(fencing, "unasked", lambda host, trial: iter(()))
    monkeypatch.setattr(signals, "unasked", lambda host, trial: iter(()))
    monkeypatch.setattr(signals, "_open_grants", lambda case: iter(()))


def deadline_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host counts as guarded off once the deadline has passed since its last grant."""
    def wait_s(guard: GuardSpec, *, watchdog: bool) -> float:
        """The deadline alone."""
        return guard.deadline_s

    monkeypatch.setattr(fencing, "wait_s", wait_s)


def no_proof_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """VMs are promoted whatever may still run them."""
    monkeypatch.setattr(waves, "unproven", lambda machine, case: None)
    monkeypatch.setattr(decide, "_proof_is_held", lambda machine, case, held: True)
    monkeypatch.setattr(signals, "unproven_host", lambda case: None)
    monkeypatch.setitem(signals.SIGNALS, signals.Signal.UNPROVEN, lambda case: None)


def read_off_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a BMC reads, its host is off, and its distrust is forgotten."""
    monkeypatch.setattr(fencing, "LEAST_READS", 0)
    monkeypatch.setattr(fencing, "distrust", lambda host: "")

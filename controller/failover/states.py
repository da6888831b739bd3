"""The states of one failover, and every way from one to another, as one literal table.

A failover is of a *scope*: one site, or one host. `decide.py` walks the table from the phase that
the survivors' record says (calm, if there is none): it takes the first row of that phase whose
signal is seen, and goes on from there, until a row leads back to its own phase, or into a phase
that has to be recorded first. So the table is read from top to bottom: of two signals that are both
seen, the upper one counts.

Phases that are recorded have a crash before them and after them: what a row orders on entry is
given again each time that the phase is met, until it is seen. Phases that are not recorded
(suspected, link-suspected, agreed, awaiting-human) are found anew from what is seen, every time.
Gating is recorded only where its VMs have to wait (decide.py).

The point of no return is the first power-off, or the time at which a guard may have ended guests
after its last grant. Before it, a scope that is seen again is calm, and the grants are restored.
After it, the scope is returning: guests there may be gone, so each is looked at, and started where
it was if nothing was promoted.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """Where the failover of one scope stands."""

    CALM = "calm"
    SUSPECTED = "suspected"
    LINK_SUSPECTED = "link-suspected"
    AGREED = "agreed"
    AWAITING_HUMAN = "awaiting-human"
    REVOKING = "revoking"
    FENCING = "fencing"
    GATING = "gating"
    PROMOTING = "promoting"
    SPLIT_BRAIN = "split"
    LED_ELSEWHERE = "led-elsewhere"
    RETURNING = "returning"
    REVERSING = "reversing"
    PROTECTED_REVERSED = "protected-reversed"
    MOVING_BACK = "moving-back"


RECORDED: Final = frozenset(Phase) - {
    Phase.SUSPECTED, Phase.LINK_SUSPECTED, Phase.AGREED, Phase.AWAITING_HUMAN}
"""The phases that are written down before anything is done in them; calm ends a record."""


class Signal(StrEnum):
    """What can be seen of a scope; each is a function in `signals.py` that says why."""

    SILENT = "silent"
    WITNESS_SEES = "a witness sees it"
    OWN_LINK = "all sites are silent"
    VIEW_MISSING = "a view is missing"
    VIEWS_AGREE = "views agree"
    ORDERED = "ordered by a person"
    PLANNED = "a planned move is ordered"
    PLANNED_WAITS = "a planned move has to wait"
    ONLY_WATCHES = "no fresh lease, or only just begun"
    NEEDS_PERSON = "no policy allows it"
    MAY_BEGIN = "a policy or a person allows it"
    SEEN_IN_TIME = "seen again in time"
    SEEN_LATE = "seen again too late"
    GRANTOR_OPEN = "a grantor is not revoked"
    REVOKED = "revoked"
    UNPROVEN = "a host is not proven off"
    PROVEN = "all hosts are proven off"
    ALL_WAIT = "no VM may go on"
    SOME_READY = "a VM may go on"
    OLD_COPY_RUNS = "an old copy runs"
    OLD_COPY_GONE = "no old copy runs"
    WAVE_RUNS = "a wave is not over"
    WAVES_DONE = "every wave is over"
    AWAY = "the old hosts are silent"
    OLD_HOST_ANSWERS = "an old host answers"
    NOT_PROMOTED = "nothing was promoted"
    SETTLED = "nothing was promoted, and nothing is missing"
    OLD_COPIES = "old copies are not dealt with"
    OLD_COPIES_OFF = "old copies are off and compared"
    REVERSE_STALE = "a reverse replica is not fresh"
    REVERSE_FRESH = "every reverse replica is fresh"
    ON_THE_WAY = "a VM is on its way"
    MOVE_FAILED = "a move failed"
    MOVED = "every VM is back"
    NOTHING_RAN = "nothing ran on it"
    CALLED_OFF = "a planned move failed"
    OVERTAKEN = "a later failover or move has taken over"
    LOST_AGAIN = "lost again, with VMs that were not promoted"
    UNDECLARED = "none of its hosts is declared any more"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: in `start`, when `signal` is seen, the scope is in `end`."""

    start: Phase
    signal: Signal
    end: Phase
    orders: tuple[str, ...]
    """The orders that may be given in `end` on this row."""
    sentence: str
    """For people; {scope} is what it is about, {why} what the signal says."""


_P = Phase
_S = Signal
TABLE: Final[tuple[Transition, ...]] = (
    Transition(_P.CALM, _S.PLANNED, _P.MOVING_BACK, ("WriteRecord", "Restore", "Move"),
               "{scope} is moved as planned: {why}"),
    Transition(_P.CALM, _S.SILENT, _P.SUSPECTED, (), "{scope} is silent: {why}"),
    Transition(_P.CALM, _S.PLANNED_WAITS, _P.CALM, (), "{scope} is not moved yet: {why}"),

    Transition(_P.SUSPECTED, _S.ORDERED, _P.AGREED, (), "{scope} is silent, and {why}"),
    Transition(_P.SUSPECTED, _S.OWN_LINK, _P.SUSPECTED, (),
               "{scope} is silent, but so is the rest: {why}; nothing is done"),
    Transition(_P.SUSPECTED, _S.WITNESS_SEES, _P.LINK_SUSPECTED, ("Restore",),
               "it is our link, not {scope}: {why}; nothing is done"),
    Transition(_P.SUSPECTED, _S.VIEWS_AGREE, _P.AGREED, (), "{scope} is gone: {why}"),
    Transition(_P.SUSPECTED, _S.VIEW_MISSING, _P.SUSPECTED, (),
               "{scope} is silent, and one view is not enough: {why}"),
    Transition(_P.LINK_SUSPECTED, _S.WITNESS_SEES, _P.LINK_SUSPECTED, ("Restore",),
               "it is our link, not {scope}: {why}; nothing is done"),
    Transition(_P.AGREED, _S.ONLY_WATCHES, _P.AGREED, (),
               "{scope} is gone; this controller only watches: {why}"),
    Transition(_P.AGREED, _S.NOTHING_RAN, _P.AGREED, (), "{scope} is gone: {why}"),
    Transition(_P.AGREED, _S.NEEDS_PERSON, _P.AWAITING_HUMAN, (),
               "{scope} is gone and waits for a person: {why}"),
    Transition(_P.AGREED, _S.MAY_BEGIN, _P.REVOKING, ("WriteRecord", "Revoke"),
               "{scope} is given up: {why}"),
    Transition(_P.AWAITING_HUMAN, _S.NEEDS_PERSON, _P.AWAITING_HUMAN, (),
               "{scope} is gone and waits for a person: {why}"),

    Transition(_P.REVOKING, _S.ONLY_WATCHES, _P.REVOKING, (),
               "{scope} is given up; this controller only watches: {why}"),
    Transition(_P.REVOKING, _S.UNDECLARED, _P.CALM, ("WriteRecord",),
               "the failover of {scope} is called off: {why}"),
    Transition(_P.REVOKING, _S.SEEN_IN_TIME, _P.CALM, ("WriteRecord", "Restore"),
               "{scope} is back in time, and is granted to again: {why}"),
    Transition(_P.REVOKING, _S.SEEN_LATE, _P.RETURNING, ("WriteRecord", "Restore", "Resume"),
               "{scope} is back, and its guests may have been ended: {why}"),
    Transition(_P.REVOKING, _S.REVOKED, _P.FENCING, ("WriteRecord", "Revoke", "Fence"),
               "nobody grants to {scope} any more: {why}"),
    Transition(_P.REVOKING, _S.GRANTOR_OPEN, _P.REVOKING, ("WriteRecord", "Revoke"),
               "the grants to {scope} are being revoked: {why}"),

    Transition(_P.FENCING, _S.ONLY_WATCHES, _P.FENCING, (),
               "{scope} is given up; this controller only watches: {why}"),
    Transition(_P.FENCING, _S.UNDECLARED, _P.CALM, ("WriteRecord",),
               "the failover of {scope} is called off: {why}"),
    Transition(_P.FENCING, _S.SEEN_IN_TIME, _P.CALM, ("WriteRecord", "Restore"),
               "{scope} is back in time, and is granted to again: {why}"),
    Transition(_P.FENCING, _S.SEEN_LATE, _P.RETURNING, ("WriteRecord", "Restore", "Resume"),
               "{scope} is back, and its guests may have been ended: {why}"),
    Transition(_P.FENCING, _S.PROVEN, _P.GATING, ("WriteRecord", "Revoke"),
               "{scope} is proven off: {why}"),
    Transition(_P.FENCING, _S.UNPROVEN, _P.FENCING, ("WriteRecord", "Revoke", "Fence"),
               "{scope} is not proven off yet: {why}"),

    Transition(_P.GATING, _S.ONLY_WATCHES, _P.GATING, (),
               "{scope} is given up; this controller only watches: {why}"),
    Transition(_P.GATING, _S.UNDECLARED, _P.CALM, ("WriteRecord",),
               "the failover of {scope} is called off: {why}"),
    Transition(_P.GATING, _S.SEEN_LATE, _P.RETURNING, ("WriteRecord", "Restore", "Resume"),
               "{scope} is back before anything was promoted: {why}"),
    Transition(_P.GATING, _S.UNPROVEN, _P.FENCING, ("WriteRecord", "Revoke", "Fence"),
               "{scope} is no longer proven off: {why}"),
    Transition(_P.GATING, _S.SOME_READY, _P.PROMOTING,
               ("WriteRecord", "DropAddresses", "Promote", "Quarantine"),
               "the VMs of {scope} start elsewhere: {why}"),
    Transition(_P.GATING, _S.ALL_WAIT, _P.AWAITING_HUMAN, ("WriteRecord",),
               "{scope} is proven off, and its VMs wait for a person: {why}"),
    Transition(_P.AWAITING_HUMAN, _S.ALL_WAIT, _P.AWAITING_HUMAN, ("WriteRecord",),
               "{scope} is proven off, and its VMs wait for a person: {why}"),

    Transition(_P.PROMOTING, _S.ONLY_WATCHES, _P.PROMOTING, (),
               "the VMs of {scope} start elsewhere; this controller only watches: {why}"),
    Transition(_P.PROMOTING, _S.OLD_COPY_RUNS, _P.SPLIT_BRAIN, ("WriteRecord", "DropAddresses"),
               "SPLIT BRAIN at {scope}, every wave is stopped: {why}"),
    Transition(_P.PROMOTING, _S.WAVES_DONE, _P.LED_ELSEWHERE, ("WriteRecord", "Quarantine"),
               "the VMs of {scope} run elsewhere: {why}"),
    Transition(_P.PROMOTING, _S.WAVE_RUNS, _P.PROMOTING,
               ("WriteRecord", "DropAddresses", "Promote", "Quarantine"),
               "the VMs of {scope} start elsewhere: {why}"),
    Transition(_P.SPLIT_BRAIN, _S.ONLY_WATCHES, _P.SPLIT_BRAIN, (),
               "SPLIT BRAIN at {scope}; this controller only watches: {why}"),
    Transition(_P.SPLIT_BRAIN, _S.OLD_COPY_RUNS, _P.SPLIT_BRAIN, ("WriteRecord", "DropAddresses"),
               "SPLIT BRAIN at {scope}, every wave is stopped: {why}"),
    Transition(_P.SPLIT_BRAIN, _S.OLD_COPY_GONE, _P.PROMOTING,
               ("WriteRecord", "DropAddresses", "Promote", "Quarantine"),
               "no old copy of {scope} runs any more, and the waves go on: {why}"),

    Transition(_P.LED_ELSEWHERE, _S.ONLY_WATCHES, _P.LED_ELSEWHERE, (),
               "the VMs of {scope} run elsewhere; this controller only watches: {why}"),
    Transition(_P.LED_ELSEWHERE, _S.OVERTAKEN, _P.CALM, ("WriteRecord", "Restore"),
               "the failover of {scope} is over: {why}"),
    Transition(_P.LED_ELSEWHERE, _S.WAVE_RUNS, _P.PROMOTING,
               ("WriteRecord", "DropAddresses", "Promote", "Quarantine"),
               "VMs of {scope} that had to wait start now: {why}"),
    Transition(_P.LED_ELSEWHERE, _S.SOME_READY, _P.PROMOTING,
               ("WriteRecord", "DropAddresses", "Promote", "Quarantine"),
               "more VMs of {scope} start elsewhere: {why}"),
    Transition(_P.LED_ELSEWHERE, _S.OLD_HOST_ANSWERS, _P.RETURNING,
               ("WriteRecord", "Quarantine", "Restore"),
               "{scope} is back, and starts nothing: {why}"),
    Transition(_P.LED_ELSEWHERE, _S.UNDECLARED, _P.CALM, ("WriteRecord",),
               "the failover of {scope} is over: {why}"),
    Transition(_P.LED_ELSEWHERE, _S.AWAY, _P.LED_ELSEWHERE, ("WriteRecord",),
               "the VMs of {scope} run elsewhere: {why}"),

    Transition(_P.RETURNING, _S.ONLY_WATCHES, _P.RETURNING, (),
               "{scope} is back; this controller only watches: {why}"),
    Transition(_P.RETURNING, _S.OVERTAKEN, _P.CALM, ("WriteRecord", "Restore"),
               "the failover of {scope} is over: {why}"),
    Transition(_P.RETURNING, _S.LOST_AGAIN, _P.CALM, ("WriteRecord", "Restore"),
               "{scope} is lost again, and its former failover is over: {why}"),
    Transition(_P.RETURNING, _S.UNDECLARED, _P.CALM, ("WriteRecord",),
               "the failover of {scope} is over: {why}"),
    Transition(_P.RETURNING, _S.WAVE_RUNS, _P.PROMOTING,
               ("WriteRecord", "DropAddresses", "Promote", "Quarantine"),
               "VMs of {scope} that had to wait start now: {why}"),
    Transition(_P.RETURNING, _S.SETTLED, _P.CALM, ("WriteRecord", "Restore"),
               "the failover of {scope} is called off: {why}"),
    Transition(_P.RETURNING, _S.NOT_PROMOTED, _P.RETURNING, ("WriteRecord", "Restore", "Resume"),
               "nothing of {scope} was promoted, so it goes on where it was: {why}"),
    Transition(_P.RETURNING, _S.OLD_COPIES_OFF, _P.REVERSING,
               ("WriteRecord", "PassAddresses", "Quarantine", "Restore", "Reverse"),
               "the old disks of {scope} become replicas: {why}"),
    Transition(_P.RETURNING, _S.OLD_COPIES, _P.RETURNING, ("WriteRecord", "Quarantine", "Restore"),
               "{scope} is back, and starts nothing: {why}"),
    Transition(_P.REVERSING, _S.ONLY_WATCHES, _P.REVERSING, (),
               "the old disks of {scope} become replicas; this controller only watches: {why}"),
    Transition(_P.REVERSING, _S.OVERTAKEN, _P.CALM, ("WriteRecord", "Restore"),
               "the failover of {scope} is over: {why}"),
    Transition(_P.REVERSING, _S.LOST_AGAIN, _P.CALM, ("WriteRecord", "Restore"),
               "{scope} is lost again, and its former failover is over: {why}"),
    Transition(_P.REVERSING, _S.UNDECLARED, _P.CALM, ("WriteRecord",),
               "the failover of {scope} is over: {why}"),
    Transition(_P.REVERSING, _S.WAVE_RUNS, _P.PROMOTING,
               ("WriteRecord", "DropAddresses", "Promote", "Quarantine"),
               "VMs of {scope} that had to wait start now: {why}"),
    Transition(_P.REVERSING, _S.REVERSE_FRESH, _P.PROTECTED_REVERSED,
               ("WriteRecord", "Quarantine", "Restore"),
               "the VMs of {scope} run elsewhere, and {why}"),
    Transition(_P.REVERSING, _S.REVERSE_STALE, _P.REVERSING,
               ("WriteRecord", "PassAddresses", "Quarantine", "Restore", "Reverse"),
               "the old disks of {scope} become replicas: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.ONLY_WATCHES, _P.PROTECTED_REVERSED, (),
               "the VMs of {scope} run elsewhere; this controller only watches: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.OVERTAKEN, _P.CALM, ("WriteRecord", "Restore"),
               "the failover of {scope} is over: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.LOST_AGAIN, _P.CALM, ("WriteRecord", "Restore"),
               "{scope} is lost again, and its former failover is over: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.UNDECLARED, _P.CALM, ("WriteRecord",),
               "the failover of {scope} is over: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.PLANNED, _P.MOVING_BACK,
               ("WriteRecord", "Restore", "Move"),
               "the VMs of {scope} go back: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.PLANNED_WAITS, _P.PROTECTED_REVERSED,
               ("WriteRecord", "Quarantine", "Restore"),
               "the VMs of {scope} do not go back yet: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.REVERSE_STALE, _P.PROTECTED_REVERSED,
               ("WriteRecord", "Quarantine", "Restore"),
               "the VMs of {scope} run elsewhere: {why}"),
    Transition(_P.PROTECTED_REVERSED, _S.REVERSE_FRESH, _P.PROTECTED_REVERSED,
               ("WriteRecord", "Quarantine", "Restore"),
               "the VMs of {scope} run elsewhere, and may go back: {why}"),
    Transition(_P.MOVING_BACK, _S.ONLY_WATCHES, _P.MOVING_BACK, (),
               "the VMs of {scope} are on their way; this controller only watches: {why}"),
    Transition(_P.MOVING_BACK, _S.CALLED_OFF, _P.CALM, ("WriteRecord", "Restore"),
               "the planned move of {scope} is over: {why}"),
    Transition(_P.MOVING_BACK, _S.MOVE_FAILED, _P.PROTECTED_REVERSED,
               ("WriteRecord", "Quarantine", "Restore"),
               "the VMs of {scope} stay where they are: {why}"),
    Transition(_P.MOVING_BACK, _S.MOVED, _P.CALM, ("WriteRecord", "Restore"),
               "each VM of {scope} is where it was to go: {why}"),
    Transition(_P.MOVING_BACK, _S.ON_THE_WAY, _P.MOVING_BACK, ("WriteRecord", "Restore", "Move"),
               "the VMs of {scope} are on their way: {why}"),
)

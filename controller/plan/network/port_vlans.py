"""The VLANs of a port: which pass, which should, and the two steps between, as sets.

Rule 1: a port that passes every VLAN, or untagged frames, keeps doing so unless the specs say else.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from controller.model.facts import PortFacts
from controller.plan.actions.desired import PortVlans
from controller.plan.survey.vlans import NOTHING_PASSES

NATIVE = frozenset({"native-tagged", "native-untagged"})
TUNNEL = "dot1q-tunnel"
"""The mode of a port that puts all frames, with whatever tags they have, into one VLAN."""
KINDS_OF_TRUNK: Final = 1024
"""Pairs of present and declared VLANs that are cached: most trunks are like others."""


class Wanted(NamedTuple):
    """What is declared for a trunk."""

    vlans: tuple[int, ...]
    every: bool = False
    native: int | None = None
    """The VLAN of untagged frames; 0: they pass as they are; None: nothing is declared."""
    untagged: bool = False
    """Whether untagged frames have to pass, whatever VLAN they are of."""


class Frames(NamedTuple):
    """Which frames pass, whatever columns say so."""

    tagged: frozenset[int] | None
    """None: those of every VLAN."""
    untagged: int | None
    """The VLAN of untagged frames; 0: they pass as they are; None: they do not pass."""


class Change(NamedTuple):
    """How a port gets from the VLANs that pass to those that should, in two steps."""

    was: PortVlans
    wide: PortVlans
    """With everything declared added and nothing taken away."""
    narrow: PortVlans
    """With everything undeclared taken away."""
    lacking: frozenset[int]
    lost: frozenset[int]
    """What `narrow` takes from `wide`; 0 is for untagged frames."""


def port_vlans_of(port: PortFacts) -> PortVlans:
    """Return the columns of a port that decide which VLANs pass."""
    return PortVlans(port.trunks, port.tag, port.vlan_mode)


def is_access(was: PortVlans) -> bool:
    """Return whether all frames of a port belong to one VLAN and carry no tag."""
    return was.vlan_mode == "access" or (was.vlan_mode is None and was.tag is not None)


def frames_of(was: PortVlans) -> Frames:
    """Return which frames pass, by the rules of Open vSwitch."""
    if is_access(was):
        return Frames(frozenset(), was.tag)
    if was.vlan_mode in NATIVE:
        native = was.tag or 0
        return Frames(frozenset(was.vlans) - {0, native} if was.vlans else None, native)
    if not was.vlans:
        return Frames(None, 0)
    return Frames(frozenset(was.vlans) - {0}, 0 if 0 in was.vlans else None)


@lru_cache(KINDS_OF_TRUNK)
def change_of(was: PortVlans, wanted: Wanted) -> Change:
    """Return the two steps from the present VLANs of a port to those declared."""
    seen = frames_of(was)
    untagged = wanted.native
    if untagged is None:
        untagged = None if seen.untagged in wanted.vlans else seen.untagged
        if untagged is None and wanted.untagged:
            untagged = seen.untagged or 0
    every = wanted.every or seen.tagged is None
    tagged = None if every else frozenset(wanted.vlans) - {untagged}
    lacking = frozenset(wanted.vlans) - (seen.tagged or frozenset()) - {untagged}
    if seen.tagged is None:
        lacking = frozenset()
    reread: frozenset[int] = frozenset()
    if untagged != seen.untagged:
        reread = frozenset({seen.untagged} if seen.untagged is not None else ())
        if untagged and (seen.tagged is None or untagged in seen.tagged):
            reread |= {untagged}
    wide = Frames(None if every else (seen.tagged or frozenset()) | (tagged or frozenset()),
                  seen.untagged if reread else untagged)
    extra = frozenset() if tagged is None else (wide.tagged or frozenset()) - tagged
    narrow = Frames(tagged, untagged)
    return Change(was, written(wide, was), written(narrow, was), lacking, (extra | reread))


def written(frames: Frames, was: PortVlans) -> PortVlans:
    """Return the columns that let these frames pass; unchanged where they do already."""
    if frames == frames_of(was):
        return was
    if frames.untagged:
        native = was.vlan_mode if was.vlan_mode in NATIVE else "native-untagged"
        both = frozenset() if frames.tagged is None else frames.tagged | {frames.untagged}
        return PortVlans(tuple(sorted(both)), frames.untagged, native)
    mode = was.vlan_mode if was.tag is None and was.vlan_mode in {None, "trunk"} else "trunk"
    if frames.tagged is None:
        return PortVlans((), None, mode)
    vlans = frames.tagged | ({0} if frames.untagged == 0 else frozenset())
    return PortVlans(tuple(sorted(vlans)) or NOTHING_PASSES, None, mode)

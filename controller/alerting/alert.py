"""Alerts: what is wrong with an estate, one value each, with what to do next.

An alert has a key that stays the same as long as the same thing is wrong with the same object, and
a stage: as soon as it comes to a stage that it was not in before, it is worth telling again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from controller.model.condition import Condition, ConditionType, Status
from controller.model.notify.spec import Severity

PAGE, TICKET = Severity.PAGE, Severity.TICKET
TRUE, FALSE, UNKNOWN = Status.TRUE, Status.FALSE, Status.UNKNOWN
T = ConditionType
FAILOVER: Final = "Failover"
APPROVAL: Final = "Approval"
CONTROLLER: Final = "Controller"


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong."""

    target: str
    """`Kind/name`."""
    type: str
    """The type of its condition, or Failover, Approval, Controller."""
    severity: Severity
    verdict: str
    """A few words, to be read first."""
    sentence: str
    next: str
    """The command, or the deed, that helps."""
    site: str = ""
    """The site that it concerns; empty: none, or all."""
    stage: str = ""
    silenced: bool = False
    """Whether the object, or a scope around it, is suspended."""
    about: str = ""
    """Of several alerts of one object and type: which one it is."""
    unknown: bool = False
    """Whether it is told because something is unknown."""

    @property
    def key(self) -> str:
        """Return what stays the same as long as this is wrong."""
        return " ".join(filter(None, (self.target, self.type, self.about)))

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"target": self.target, "type": self.type, "severity": self.severity.value,
                "verdict": self.verdict, "sentence": self.sentence, "next": self.next,
                "site": self.site}


class Rule(NamedTuple):
    """Which conditions of a type are told."""

    status: Status
    severity: Severity
    verdict: str
    """`{name}` is the object's."""
    next: str
    """`{target}` is `Kind/name`."""
    kinds: frozenset[str] = frozenset()
    """Empty: all."""
    reasons: frozenset[str] = frozenset()
    """Empty: all."""
    stage: str = ""
    """Empty: the severity."""


EXPLAIN: Final = "hotsite explain {target}"
NODES: Final = frozenset({"Host", "Switch"})
MACHINE: Final = frozenset({"VirtualMachine"})
DOWN: Final = frozenset({"Off", "NotRunning", "SeveralCopies"})

QUIET: Final = frozenset({"Moving"})
"""Reasons by which a person has ordered it so."""

RULES: Final[Mapping[ConditionType, tuple[Rule, ...]]] = {
    T.SPLIT_BRAIN: (Rule(TRUE, PAGE, "{name} RUNS TWICE", EXPLAIN),),
    T.BREAK_GLASS: (
        Rule(TRUE, PAGE, "THE BREAK-GLASS of {name} is over soon", "hotsite break-glass show",
             reasons=frozenset({"SoonOver"}), stage="soon over"),
        Rule(TRUE, PAGE, "THE GLASS IS BROKEN: {name} is not as git says",
             "hotsite break-glass show")),
    T.SURVIVABLE: (
        Rule(FALSE, PAGE, "the loss of {name} would not be survived", EXPLAIN),
        Rule(UNKNOWN, TICKET, "nobody can say whether the loss of {name} would be survived",
             EXPLAIN)),
    T.STALLED: (Rule(TRUE, PAGE, "{name} needs a person or a commit", EXPLAIN),),
    T.READY: (
        Rule(UNKNOWN, PAGE, "much of {name} does not answer", "hotsite status",
             frozenset({"Site"})),
        Rule(UNKNOWN, PAGE, "{name} does not answer", EXPLAIN, NODES),
        Rule(UNKNOWN, TICKET, "{name} cannot be seen", EXPLAIN, MACHINE),
        Rule(FALSE, PAGE, "{name} is down", EXPLAIN, MACHINE, DOWN),
        Rule(FALSE, TICKET, "{name} is not as declared", EXPLAIN)),
    T.HEALTHY: (Rule(FALSE, PAGE, "{name} runs and does not serve", EXPLAIN),),
    T.FRESH: (
        Rule(FALSE, PAGE, "the replica of {name} is far too old", "hotsite replica show {name}",
             reasons=frozenset({"Critical"})),
        Rule(FALSE, TICKET, "the replica of {name} is too old", "hotsite replica show {name}",
             reasons=frozenset({"Warning", "NoPoint"}))),
    T.CONNECTED: (
        Rule(FALSE, PAGE, "the link {name} is down", EXPLAIN, frozenset({"InterSiteLink"})),
        Rule(FALSE, TICKET, "the network {name} is not whole", EXPLAIN, frozenset({"Network"})),
        Rule(FALSE, TICKET, "{name} is not on its networks", EXPLAIN),
        Rule(TRUE, TICKET, "the link {name} is degraded", EXPLAIN, frozenset({"InterSiteLink"}),
             frozenset({"Degraded"}))),
    T.GATEWAY: (
        Rule(FALSE, PAGE, "nobody has the gateway of {name}", EXPLAIN, reasons=frozenset({"None"})),
        Rule(FALSE, TICKET, "the gateway of {name} is not as it should be", EXPLAIN),
        Rule(TRUE, TICKET, "nobody could take over the gateway of {name}", EXPLAIN,
             reasons=frozenset({"Alone"}))),
    T.PROTECTED: (Rule(FALSE, TICKET, "{name} is not protected", "hotsite replica show {name}"),),
    T.VERIFIED: (Rule(FALSE, TICKET, "the replica of {name} is not proven sound",
                      "hotsite replica show {name}"),),
    T.DRILLED: (Rule(FALSE, TICKET, "{name} has not been drilled in time", EXPLAIN),),
    T.GUARDED: (Rule(FALSE, TICKET, "{name} is not guarded", EXPLAIN),),
    T.FENCEABLE: (Rule(FALSE, TICKET, "{name} could not be fenced", EXPLAIN),),
    T.PERSISTENT: (Rule(FALSE, TICKET, "{name} would lose networks in a reboot", EXPLAIN),),
    T.TWIN_MATCHES: (Rule(FALSE, TICKET, "{name} and its twin differ", EXPLAIN),),
    T.PLACED: (Rule(FALSE, TICKET, "{name} is not where it belongs", EXPLAIN),),
    T.CONTROLLER_INSIDE: (Rule(TRUE, TICKET, "the controller would fail with {name}", EXPLAIN),),
    T.SUSPENDED: (Rule(TRUE, TICKET, "healing of {name} is suspended", "hotsite resume {target}",
                       frozenset({"Estate", "Site"})),),
    T.OBSERVED: (), T.NOT_PORTABLE: (), T.NOTIFIED: (),
}
"""By type, what is told of it: the first rule that fits. What no rule fits is shown, not told."""

ONLY_WHILE_TRUE: Final = frozenset({T.SPLIT_BRAIN, T.STALLED, T.SUSPENDED, T.BREAK_GLASS,
                                    T.CONTROLLER_INSIDE})
"""Types that are listed only while they are true."""


class Stage(NamedTuple):
    """What one phase of a failover is to those who are told."""

    name: str
    severity: Severity
    verdict: str
    next: str


_UNDER_WAY = Stage("under way", PAGE, "{name} is lost: its VMs are being started elsewhere",
                   "hotsite status")
_PROVING = Stage("proving", PAGE, "{name} is lost: nothing starts until its hosts are proven off",
                 "hotsite status")
_BACK = Stage("back", TICKET, "{name} is back, and is being made a twin again", "hotsite status")
_SILENT = Stage("silent", PAGE, "all of {name} is silent", "hotsite failover {bare} --dry-run")
SITE_PHASES: Final[Mapping[str, Stage]] = {"suspected": _SILENT, "agreed": _SILENT}
"""Of sites alone: of a host its condition says as much."""
PHASES: Final[Mapping[str, Stage]] = {
    "link-suspected": Stage("link", PAGE, "{name} is silent, and a witness sees it: the link",
                            "look at the link between the sites"),
    "awaiting-human": Stage("waits", PAGE, "{name} is lost: WAITS FOR YOU",
                            "hotsite failover {bare} --dry-run"),
    "revoking": _PROVING, "fencing": _PROVING, "gating": _UNDER_WAY, "promoting": _UNDER_WAY,
    "split": Stage("split", PAGE, "{name}: an old copy runs beside the new one", EXPLAIN),
    "led-elsewhere": Stage("elsewhere", PAGE, "{name} is lost: its VMs run elsewhere",
                           "hotsite status"),
    "returning": _BACK, "reversing": _BACK,
    "moving-back": Stage("moving", TICKET, "the VMs of {name} are on their way", "hotsite status"),
    "protected-reversed": Stage("home", TICKET, "{name} is back: its VMs can be moved home",
                                "hotsite failback {bare}"),
}
"""By phase; one that is not listed is told by what it makes of the nodes."""

FOLLOWS: Final = frozenset({T.PLACED, T.CONNECTED, T.PROTECTED, T.FRESH, T.VERIFIED, T.DRILLED,
                            T.SURVIVABLE, T.GUARDED, T.FENCEABLE, T.TWIN_MATCHES, T.HEALTHY})
"""What the loss of one site makes of objects anywhere: it is counted, not told one by one."""


RULES_BY_STATUS: Final[Mapping[tuple[ConditionType, Status], tuple[Rule, ...]]] = {
    (kind, status): rules for kind in RULES for status in Status
    if (rules := tuple(rule for rule in RULES[kind] if rule.status is status))}
"""Most conditions are well, which no rule is about."""


def is_told(condition: Condition) -> bool:
    """Return whether a condition may be one to be told of; costs next to nothing."""
    return (condition.type, condition.status) in RULES_BY_STATUS


def alert_of(condition: Condition, site: str, *, silenced: bool) -> Alert | None:
    """Return the alert of a condition; None where it is nothing to be told of."""
    kind, _, name = condition.target.partition("/")
    if condition.reason in QUIET:
        return None
    for rule in RULES_BY_STATUS.get((condition.type, condition.status), ()):
        if ((not rule.kinds or kind in rule.kinds)
                and (not rule.reasons or condition.reason in rule.reasons)):
            words = {"name": name, "target": condition.target}
            return Alert(condition.target, condition.type.value, rule.severity,
                         rule.verdict.format(**words), condition.message,
                         rule.next.format(**words), site, rule.stage or rule.severity.value,
                         silenced and condition.type not in {T.SUSPENDED, T.BREAK_GLASS},
                         unknown=condition.status is UNKNOWN)
    return None


@dataclass(frozen=True, slots=True)
class AlertSet:
    """All that is wrong now, and what cannot be said of what was."""

    alerts: tuple[Alert, ...]
    follows: Mapping[str, int] = field(default_factory=dict)
    """By cause, in words: how many more alerts follow from it."""
    unclear: frozenset[tuple[str, str]] = frozenset()
    """Target and type of each condition that is unknown now: whether that is over cannot be said.
    """
    unseen: frozenset[str] = frozenset()
    """Targets that cannot be seen: what is listed only while true may still be so."""
    hidden: frozenset[str] = frozenset()
    """Keys of alerts that follow from others: they are counted, and not over."""
    blind: bool = False
    """Nothing was decided yet: of nothing it can be said that it is over."""

    def may_last(self, alert: Alert) -> bool:
        """Return whether what is not among the alerts may be wrong all the same."""
        return (self.blind or (alert.target, alert.type) in self.unclear
                or alert.key in self.hidden
                or (alert.target in self.unseen and alert.type in ONLY_WHILE_TRUE))

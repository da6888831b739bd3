"""What is sent, and when: one message for one disaster, and one for what flaps."""

from collections.abc import Callable

from controller.alerting.alert import Alert, AlertSet
from controller.alerting.collect import MOST, alerts_of
from controller.alerting.decide import Told, decide
from controller.alerting.message import Message, message_of
from controller.model.condition import Condition, ConditionType
from controller.model.condition import Status as CStatus
from controller.model.notify.spec import NotifySpec, ReceiverSpec, Severity
from controller.plan.steps.plan import Plan
from tests.reconcile.stage import lab

RECEIVER = ReceiverSpec.model_validate({"name": "oncall", "exec": {"command": ["/bin/true"]}})
NOTHING = AlertSet(())


def down(name: str, severity: Severity = Severity.PAGE, *, silenced: bool = False) -> Alert:
    """A VM that is down."""
    return Alert(f"VirtualMachine/{name}", "Ready", severity, f"{name} is down", "it is off",
                 f"hotsite explain VirtualMachine/{name}", stage=severity.value,
                 silenced=silenced)


def sent(wrong: Callable[[int], AlertSet], until_s: int) -> list[tuple[int, Message]]:
    """What is sent in some time, asked once a second."""
    history: dict[str, Told] = {}
    last_at = None
    found = []
    for at in range(until_s):
        decision = decide(RECEIVER, NotifySpec(), wrong(at), history, float(at), last_at)
        last_at = decision.last_at
        history = dict(decision.history)
        if decision.notification is not None:
            found.append((at, message_of(decision.notification, "lab")))
    return found


def test_one_disaster_is_one_message_and_its_end_another() -> None:
    site = AlertSet(tuple(down(f"vm-{number}") for number in range(35)))
    told = sent(lambda at: site if 10 <= at < 500 else NOTHING, 3000)
    assert [(at, message.status) for at, message in told] == [(40, "firing"), (1100, "resolved")]
    assert told[0][1].subject == "PAGE: vm-0 is down, and 34 more [lab]"


def test_what_flaps_wakes_once_and_what_is_short_wakes_nobody() -> None:
    flapping = AlertSet((down("web"),))
    told = sent(lambda at: flapping if at < 6000 and at // 60 % 2 == 0 else NOTHING, 9000)
    assert [message.status for _, message in told] == ["firing", "resolved"]
    assert sent(lambda at: flapping if 10 <= at < 30 else NOTHING, 3000) == []
    assert sent(lambda at: flapping if at < 600 and at % 60 < 20 else NOTHING, 3000) == []
    told = sent(lambda at: flapping if at % 60 < 20 else NOTHING, 3000)
    assert len(told) == 1
    assert "came and went 20 times" in told[0][1].text


def test_what_cannot_be_seen_any_more_has_not_ended() -> None:
    unseen = AlertSet((), unclear=frozenset({("VirtualMachine/web", "Ready")}))
    told = sent(lambda at: AlertSet((down("web"),)) if at < 100 else unseen, 3000)
    assert [message.status for _, message in told] == ["firing"]


def test_what_is_suspended_is_told_once_the_pause_ends() -> None:
    told = sent(lambda at: AlertSet((down("web", silenced=at < 400),)), 1000)
    assert [at for at, _ in told] == [400]


def test_a_page_does_not_wait_behind_a_ticket() -> None:
    ticket = down("mail", Severity.TICKET)
    told = sent(lambda at: AlertSet((ticket, *((down("sql"),) if at > 100 else ()))), 200)
    assert [message.severity for _, message in told] == ["ticket", "page"]
    assert "sql is down" in told[1][1].subject


def test_no_name_becomes_a_header_a_colour_or_markup() -> None:
    evil = Alert("VirtualMachine/x", "Ready", Severity.PAGE, "x\r\nBcc: a@b <b>\x1b[31m",
                 "\u202eevil\u2028", "hotsite status", stage="page")
    (_, message), = sent(lambda _: AlertSet((evil,)), 60)
    assert not set("\r\n\x1b<>") & set(message.subject)
    assert not set("\r\x1b<>\u202e\u2028") & set(message.text)


def test_ends_that_are_near_each_other_are_one_message() -> None:
    def wrong(at: int) -> AlertSet:
        """Ten VMs come back, one every ten seconds."""
        return AlertSet(tuple(down(f"vm-{n}") for n in range(10) if at < 100 + 10 * n))

    told = sent(wrong, 3000)
    assert [(at, message.status) for at, message in told] == [(30, "firing"), (790, "resolved")]
    assert told[1][1].subject == "OVER: vm-0 is down, and 9 more [lab]"


def test_what_follows_from_something_worse_is_not_over() -> None:
    cause = Alert("Site/paris", "Failover", Severity.PAGE, "all of paris is silent", "", "look",
                  stage="silent")

    def wrong(at: int) -> AlertSet:
        """A VM is down, and then its site."""
        alone = down("web")
        return AlertSet((alone,)) if at < 100 else AlertSet(
            (cause,), {"what happened to paris": 1}, hidden=frozenset({alone.key}))

    assert [message.status for _, message in sent(wrong, 3000)] == ["firing", "firing"]


def test_however_much_breaks_little_is_remembered_and_the_worst_is_told() -> None:
    bad = [(f"Network/n-{number}", ConditionType.CONNECTED) for number in range(20_000)]
    bad.append(("VirtualMachine/sql", ConditionType.READY))
    conditions = [Condition(target, kind, CStatus.FALSE, "Off", "") for target, kind in bad]
    found = alerts_of(lab(), conditions, Plan("r1", ()))
    assert len(found.alerts) == MOST
    assert found.alerts[0].target == "VirtualMachine/sql"
    (_, message), = sent(lambda _: found, 60)
    assert f"{20_001 - MOST} more conditions follow" in message.text
    assert len(message.text) < 20_000


def test_an_end_wakes_nobody_although_something_else_is_wrong_still() -> None:
    def wrong(at: int) -> AlertSet:
        """Two VMs are down; one comes back."""
        return AlertSet((down("sql"), *((down("web"),) if at < 100 else ())))

    first, second = (message for _, message in sent(wrong, 3000))
    assert (first.severity, first.status) == ("page", "firing")
    assert (second.severity, second.status) == ("ticket", "firing")
    assert second.subject == "OVER: web is down; 1 still wrong [lab]"
    assert second.text.index("Over:") < second.text.index("Still so:\n- sql is down")

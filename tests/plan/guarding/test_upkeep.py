"""Guards and grantors that do not run as declared are set right, and no others."""

from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import Known, Observed, Unknown
from controller.model.failover.record import Record
from controller.plan.actions.guarding import InstallGrantor, InstallGuard
from controller.plan.actions.leaving import EndGrantor, EndGuard
from controller.plan.compute import compute
from tests.plan import builders as b
from tests.plan.guarded import OCTETS, guarded, seen, with_grantor, with_guard

LAB = guarded(b.vm("sql", protection="cut", placement={"site": "paris"}))
GOOD = seen(LAB)


def installs(observed: Observed, desired: Desired = LAB) -> list[tuple[str, str, str]]:
    """The steps on guards and grantors: verb, node and reason."""
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    return [(step.action.verb, step.action.node, step.action.reason) for step in plan.steps
            if isinstance(step.action, InstallGuard | InstallGrantor)]


def test_as_declared_nothing_is_installed() -> None:
    assert installs(GOOD) == []


def test_without_a_key_nothing_is_installed() -> None:
    desired = b.small()
    assert installs(b.as_declared(desired), desired) == []


def bare(observed: Observed) -> tuple[list[tuple[str, str]], list[str]]:
    """What is done where no key is declared any more, and what is said of it."""
    desired = replace(LAB, estate=b.estate(autonomy="delete"))
    plan = compute(desired, observed, b.APPLIED, b.NOW_S)
    return ([(step.action.verb, step.action.node) for step in plan.steps
             if isinstance(step.action, EndGuard | EndGrantor)],
            [one.sentence for one in plan.remarks if one.target.startswith("Estate/")])


def test_where_no_key_is_declared_any_more_guards_end_first_and_then_grantors() -> None:
    ends, _ = bare(GOOD)
    assert ends == [("end-guard", name) for name in sorted(OCTETS)]
    (step,) = [one for one in compute(replace(LAB, estate=b.estate(autonomy="delete")), GOOD,
                                      b.APPLIED, b.NOW_S).steps
               if isinstance(one.action, EndGuard) and one.action.node == "paris-1"]
    assert isinstance(step.action, EndGuard)
    assert step.action.grantors == ("hq", "milan-1", "milan-2")
    ended = GOOD
    for name in OCTETS:
        ended = with_guard(ended, name, running=False, processes=0)
    assert sorted(bare(ended)[0]) == [("end-grantor", name) for name in sorted(("hq", *OCTETS))]


def test_grantors_go_on_while_a_host_may_have_a_guard_that_nobody_sees() -> None:
    ended = b.silenced(GOOD, "paris-1")
    for name in OCTETS.keys() - {"paris-1"}:
        ended = with_guard(ended, name, running=False, processes=0)
    ends, said = bare(ended)
    assert ends == []
    assert "paris-1 may have a guard" in said[0]


def test_guards_go_on_while_a_failover_is_not_over() -> None:
    fact = GOOD.nodes["hq"]
    assert isinstance(fact, Known)
    record = Record("Host/paris-1", 2, phase="led-elsewhere")
    failing = b.with_node(GOOD, "hq", replace(fact, value=replace(
        fact.value, records=Known({record.scope: record}, b.NOW_S))))
    assert bare(failing)[0] == []
    assert "until the failover of Host/paris-1 is over" in bare(failing)[1][0]


def test_a_guard_that_does_not_run_is_started_with_all_that_it_needs() -> None:
    plan = compute(LAB, with_guard(GOOD, "paris-1", running=False), b.APPLIED, b.NOW_S)
    (step,) = [one for one in plan.steps if isinstance(one.action, InstallGuard)]
    assert isinstance(step.action, InstallGuard)
    assert step.action.reason == "the guard of paris-1 does not run"
    assert step.action.orders.victims == ("sql",)
    assert step.action.consequence == (
        "cut off from all of hq, milan-1, milan-2 for 30 s, paris-1 ends the VMs whose policy says"
        " so")


def test_a_guard_with_other_orders_or_another_program_is_told_anew() -> None:
    assert installs(with_guard(GOOD, "paris-1", digest="old")) == [
        ("install-guard", "paris-1",
         "the guard of paris-1 goes by something else than what is declared now")]
    assert installs(with_guard(GOOD, "paris-1", outdated=True)) == [
        ("install-guard", "paris-1", "the guard of paris-1 runs another program, or has another"
         " key, than this controller's")]


def test_a_grantor_that_does_not_run_is_started_on_hosts_and_witnesses() -> None:
    assert installs(with_grantor(GOOD, "hq", running=False)) == [
        ("install-grantor", "hq", "the grantor of hq does not run")]
    assert installs(with_grantor(GOOD, "milan-1", running=False)) == [
        ("install-grantor", "milan-1", "the grantor of milan-1 does not run")]


def test_what_cannot_be_seen_is_not_installed() -> None:
    fact = GOOD.nodes["paris-1"]
    assert isinstance(fact, b.Known)
    unknown = b.with_node(GOOD, "paris-1", b.Known(replace(
        fact.value, guard=Unknown("it hangs", b.NOW_S), grantor=Unknown("it hangs", b.NOW_S)),
        b.NOW_S))
    assert installs(unknown) == []
    assert installs(b.silenced(GOOD, "paris-1")) == []


def test_a_host_that_left_the_specs_is_granted_as_long_as_it_is_heard() -> None:
    """Else its guard would end its guests, because somebody removed it from git."""
    left = {name: host for name, host in LAB.hosts.items() if name != "paris-2"}
    heard = with_grantor(with_grantor(GOOD, "hq", hears=(*OCTETS,)), "milan-1", hears=(),
                         silent={"paris-2": 3600.0})
    plan = compute(replace(LAB, hosts=left), heard, b.APPLIED, b.NOW_S)
    told = {step.action.node: step.action.orders.hosts for step in plan.steps
            if isinstance(step.action, InstallGrantor)}
    assert told == {"milan-1": ("paris-1",)}

"""Guards and grantors that do not run as declared are set right, and no others."""

from dataclasses import replace

from controller.model.desired import Desired
from controller.model.facts import Observed, Unknown
from controller.plan.actions.guarding import InstallGrantor, InstallGuard
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

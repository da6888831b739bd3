"""What guards and grantors are told: whom to ask, whom to end, whom to answer."""

from controller.model.failover.guard import GrantorAddress
from controller.plan.guarding.orders import NONE, orders_of
from tests.plan import builders as b
from tests.plan.guarded import guarded


def test_without_a_key_nobody_is_told_anything() -> None:
    assert orders_of(b.small()) is NONE


def test_a_host_asks_every_witness_and_every_host_of_other_sites_alone() -> None:
    orders = orders_of(guarded())
    assert [one.name for one in orders.guards["paris-1"].grantors] == ["hq", "milan-1", "milan-2"]
    assert orders.guards["paris-1"].grantors[0] == GrantorAddress("hq", "10.77.0.4", 7716)
    assert orders.grantors["hq"].hosts == ("milan-1", "milan-2", "paris-1", "paris-2")
    assert orders.grantors["milan-1"].hosts == ("paris-1", "paris-2")


def test_all_vms_that_end_when_cut_off_are_told_everywhere_by_every_name_they_may_have() -> None:
    orders = orders_of(guarded(
        b.vm("sql", protection="cut", formerly=["db"]), b.vm("web", protection="gold"),
        b.vm("files"), b.vm("mail", protection="cut", placement={"site": "milan"})))
    assert orders.guards["paris-1"].victims == ("db", "mail", "sql")
    assert orders.guards["milan-2"].victims == ("db", "mail", "sql")


def test_a_former_name_that_another_vm_has_now_ends_nobody() -> None:
    orders = orders_of(guarded(b.vm("sql", protection="cut", formerly=["web"]), b.vm("web")))
    assert orders.guards["paris-1"].victims == ("sql",)


def test_an_address_that_is_a_name_is_told_to_nobody() -> None:
    orders = orders_of(guarded(b.document("Host", "milan-3", site="milan", address="milan-3.lan")))
    assert orders.unnumbered == {"milan-3": "milan-3.lan"}
    assert "milan-3" not in orders.guards
    assert "milan-3" not in [one.name for one in orders.guards["paris-1"].grantors]


def test_whatever_a_guard_goes_by_is_in_its_digest() -> None:
    plain = orders_of(guarded()).guards["paris-1"].digest
    assert orders_of(guarded()).guards["paris-1"].digest == plain
    for other in (guarded(deadline="20s"), guarded(port=7717), guarded(kill="5s"),
                  guarded(b.vm("sql", protection="cut")),
                  guarded(hosts={"paris-1": {"watchdog": "/dev/watchdog0"}}),
                  guarded(b.document("Witness", "hq2", address="10.77.0.5", place="hq2"))):
        assert orders_of(other).guards["paris-1"].digest != plain

"""What the facts script says of a guard and a grantor, as the controller reads it."""

import json

from controller.providers.linux.guard_facts import parse_grantor, parse_guard
from tests.guard.rig import HOST, Rig, uuid_of
from tests.waiting import wait_until


def test_a_guard_that_is_granted(rig: Rig) -> None:
    from guard.shown import guard_of

    rig.grantor("witness", "milan-1")
    rig.guest("sql")
    rig.guard()
    rig.granted()
    rig.order("revoke", "milan-1")
    folder = str(rig.run(HOST))
    wait_until(lambda: parse_guard(guard_of(folder)).refused_by == ("milan-1",), 20)
    wait_until(lambda: parse_guard(guard_of(folder)).processes == 2, 20)
    found = parse_guard(guard_of(folder))
    assert (found.running, found.granted, found.content) == (True, True, True)
    assert (found.program, found.digest) == ("0123456789abcdef", "d1")
    assert found.grantors == ("witness", "milan-1")
    assert found.granted_by[0] == "witness"
    assert found.held == (uuid_of("sql"),)
    assert (found.deadline_s, found.kill_s, found.watchdog) == (2.0, 1.0, "none")
    assert found.tombstones == ()


def test_what_does_not_change_is_told_in_the_same_words(rig: Rig) -> None:
    from guard.shown import grantor_of, guard_of

    rig.grantor("witness")
    rig.guest("sql")
    rig.guard()
    rig.granted()
    wait_until(lambda: parse_guard(guard_of(str(rig.run(HOST)))).processes == 2, 20)
    guard, granted_at = guard_of(str(rig.run(HOST))), rig.page("granted_at")
    grantor = json.loads(grantor_of(str(rig.run("witness"))))
    wait_until(lambda: rig.page("granted_at") > granted_at + 1, 20)
    assert guard_of(str(rig.run(HOST))) == guard
    again = json.loads(grantor_of(str(rig.run("witness"))))
    assert again | {"listening_s": 0} == grantor | {"listening_s": 0}


def test_a_guard_that_is_cut_off_or_gone_shows_its_tombstones(rig: Rig) -> None:
    from guard.shown import guard_of

    folder = str(rig.run(HOST))
    assert parse_guard(guard_of(folder)).running is False
    rig.grantor("witness")
    rig.guest("sql")
    rig.guard(deadline_s=0.5)
    rig.granted()
    rig.silence()
    rig.gone()
    found = parse_guard(guard_of(folder))
    assert (found.running, found.content, found.granted) == (True, False, True)
    assert [(one.name, one.uuid) for one in found.tombstones] == [("sql", uuid_of("sql"))]
    rig.end()
    found = parse_guard(guard_of(folder))
    assert (found.running, found.held, len(found.tombstones)) == (False, (), 1)


def test_a_grantor_says_whom_it_hears_and_refuses(rig: Rig) -> None:
    from guard.shown import grantor_of

    assert parse_grantor(grantor_of(str(rig.run("witness")))).running is False
    rig.grantor("witness", hosts=(HOST, "paris-2"))
    rig.guest("sql")
    rig.guard()
    rig.granted()
    rig.order("revoke", "witness", term=5, epoch=9)
    rig.order("disarm", "witness", "paris-2", term=5)
    found = parse_grantor(grantor_of(str(rig.run("witness"))))
    assert (found.running, found.name, found.term) == (True, "witness", 5)
    assert (found.hears, found.never, found.silent) == ((HOST,), ("paris-2",), {})
    assert found.disarmed == ("paris-2",)
    revoked = found.revoked[HOST]
    assert (revoked.epoch, revoked.by, revoked.why, revoked.since_start) == (
        9, "tests", "a test", False)
    age_s = revoked.age_s
    wait_until(lambda: parse_grantor(grantor_of(
        str(rig.run("witness")))).revoked[HOST].age_s > age_s, 20)

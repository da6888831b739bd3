"""The page that both processes share: what a crash, another boot or another layout leaves of it."""

import os
from pathlib import Path

from tests.guard.rig import HOST, key_of


def test_a_crash_in_the_middle_of_a_grant_leaves_the_earlier_deadline(tmp_path: Path) -> None:
    from guard.page import Page

    page = Page(str(tmp_path), "boot-1")
    page.grant(10.0)
    page.put("granted_at", 12.0)            # and there it was killed
    assert Page(str(tmp_path), "boot-1").granted_at == 10.0


def test_a_grant_for_an_earlier_ask_changes_nothing(tmp_path: Path) -> None:
    from guard.page import Page

    page = Page(str(tmp_path), "boot-1")
    page.grant(10.0)
    page.grant(9.0)
    assert page.granted_at == 10.0


def test_what_another_boot_has_left_counts_for_nothing(tmp_path: Path) -> None:
    from guard.page import Page, read_page

    Page(str(tmp_path), "boot-1").grant(10.0)
    assert read_page(str(tmp_path), "boot-2") is None
    assert Page(str(tmp_path), "boot-2").granted_at == 0
    assert read_page(str(tmp_path), "boot-1") is None


def test_a_short_or_foreign_page_is_none(tmp_path: Path) -> None:
    from guard.page import NAME, Page, read_page

    assert read_page(str(tmp_path), "boot-1") is None
    (tmp_path / NAME).write_bytes(b"hotsite9" + bytes(5000))
    assert read_page(str(tmp_path), "boot-1") is None
    assert Page(str(tmp_path), "boot-1").granted_at == 0


def test_a_process_that_has_moved_lately_is_there_and_a_strangers_pid_is_not(
        tmp_path: Path) -> None:
    from guard.page import FRESH_S, moves

    assert moves(os.getpid(), 100.0, 101.0)
    assert not moves(os.getpid(), 100.0, 100.0 + FRESH_S)
    assert not moves(0, 100.0, 100.0)
    assert not moves(2**40, 100.0, 100.0)


def test_answers_of_the_future_another_boot_another_host_or_a_stranger_are_no_grant(
        tmp_path: Path) -> None:
    from guard import clock, config
    from guard.guarding import HostGuard
    from guard.message import Answer, Ask, seal_answer

    key = bytes.fromhex(key_of(HOST))
    told = config.parse_guard({
        "digest": "d", "host": HOST, "key": key.hex(), "victims": [], "pids": str(tmp_path),
        "grantors": [{"name": "witness", "address": "127.0.0.1", "port": 9}], "deadline_s": 5.0,
        "every_s": 1.0, "kill_s": 1.0, "feed_s": 0.1, "watchdog_s": 1.0})
    made = HostGuard(str(tmp_path), "boot-1", told, 1)
    now = clock.now_ns()
    good = Ask(HOST, "witness", "boot-1", now)
    for ask, signed in ((good._replace(at_ns=now + 10**12), key),
                        (good._replace(boot="boot-0"), key),
                        (good._replace(host="paris-2"), key), (good._replace(to="mallory"), key),
                        (good, b"x" * 32)):
        made.hear(seal_answer(signed, Answer(ask, granted=True, armed=True)))
    made.hear(seal_answer(key, Answer(good, granted=False, armed=True)))
    assert made.page.granted_at == 0
    assert made.page.of_grantor("refused_at", 0) == now / 10**9
    made.hear(seal_answer(key, Answer(good, granted=True, armed=True)))
    assert made.page.granted_at == now / 10**9
    late = seal_answer(key, Answer(good._replace(at_ns=now - 10**9), granted=True, armed=True))
    made.hear(late)
    assert made.page.granted_at == now / 10**9

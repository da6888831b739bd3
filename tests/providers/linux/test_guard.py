"""The hands that set up guards and grantors and order grants, on real processes of this machine."""

import asyncio
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused, Unavailable
from controller.model.facts import Known
from controller.model.failover.guard import GrantorAddress, GrantorOrders, GuardOrders
from controller.plan.actions.guarding import (
    InstallGrantor,
    InstallGuard,
    RestoreGrants,
    RevokeGrants,
)
from controller.providers.linux import guard
from controller.providers.linux.guard_facts import compared, parse_grantor, parse_guard
from controller.providers.linux.guard_key import derived, id_of, read_secret
from controller.providers.node import Node
from tests.guard.rig import HOST, Rig, free_port
from tests.plan import builders as b
from tests.providers.fakes import Local
from tests.waiting import wait_until


class Hands:
    """One machine that is a guarded host and its grantor at once, with hands on it."""

    def __init__(self, rig: Rig, key: Path) -> None:
        self.rig, self.key, self.port = rig, key, free_port()
        self.transport = Local(dict(os.environ))
        self.node = Node(self.transport, HOST)

    def guard(self, **changed: Any) -> str:
        """Set up the guard."""
        orders = GuardOrders("g1", HOST, (GrantorAddress("hq", "127.0.0.1", self.port),), (),
                             30.0, 3.0, 1.0, 8.0, None, str(self.key))
        return asyncio.run(guard.install_guard(self.node, InstallGuard(
            target=f"Host/{HOST}", node=HOST, reason="r", orders=replace(orders, **changed))))

    def grantor(self, *hosts: str) -> str:
        """Set up the grantor."""
        return asyncio.run(guard.install_grantor(self.node, InstallGrantor(
            target=f"Host/{HOST}", node=HOST, reason="r", orders=GrantorOrders(
                "h1", "hq", "127.0.0.1", self.port, hosts, str(self.key)))))

    def revoke(self, epoch: int = 7, term: int = 1) -> str:
        """Order the grantor to refuse the host."""
        return asyncio.run(guard.revoke_grants(self.node, RevokeGrants(
            target="Site/paris", node=HOST, reason="a test", hosts=(HOST,), epoch=epoch,
            term=term, by="ann")))

    def restore(self, epoch: int = 7, term: int = 1) -> str:
        """Order the grantor to grant again."""
        return asyncio.run(guard.restore_grants(self.node, RestoreGrants(
            target="Site/paris", node=HOST, reason="a test", hosts=(HOST,), epoch=epoch,
            term=term, by="ann")))


@pytest.fixture
def hands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hands]:
    """Hands on this machine, in folders of the test's."""
    rig = Rig(tmp_path)
    monkeypatch.setattr(guard, "FOLDER", str(rig.run(HOST)))
    monkeypatch.setattr(guard, "DURABLE", str(rig.durable(HOST)))
    monkeypatch.setattr(guard, "PIDS", str(rig.pids))
    key = tmp_path / "key"
    key.write_text("secret " * 8)
    key.chmod(0o600)
    try:
        yield Hands(rig, key)
    finally:
        rig.end()


def test_a_guard_and_a_grantor_are_set_up_and_go_by_their_orders(hands: Hands) -> None:
    from guard.shown import grantor_of, guard_of

    assert hands.grantor(HOST) == f"the grantor of {HOST} answers {HOST}"
    assert hands.guard() == f"the guard of {HOST} runs and asks hq"
    folder = str(hands.rig.run(HOST))
    wait_until(lambda: parse_guard(guard_of(folder)).granted_by == ("hq",), 20)
    facts = b.node("paris-1", b.small()).value
    key_id = id_of(read_secret(str(hands.key)))
    facts = replace(facts, guard=Known(parse_guard(guard_of(folder)), 0.0),
                    grantor=Known(parse_grantor(grantor_of(folder)), 0.0))
    ours = guard.version()
    for version, key, outdated in ((ours, key_id, False), ("another", key_id, True),
                                   (ours, "another", True), (ours, "", False)):
        found = compared(facts, version, key)
        assert isinstance(found.guard, Known)
        assert isinstance(found.grantor, Known)
        assert (found.guard.value.digest, found.grantor.value.digest) == ("g1", "h1")
        assert (found.guard.value.outdated, found.grantor.value.outdated) == (outdated, outdated)


def test_keys_go_over_standard_input_alone_and_lie_where_root_alone_reads(hands: Hands) -> None:
    hands.grantor(HOST)
    hands.guard()
    key = derived(read_secret(str(hands.key)), HOST)
    for _, command in hands.transport.commands:
        assert key not in " ".join(command.argv)
    assert any(key in command.input for _, command in hands.transport.commands)
    for name in ("guard.json", "grantor.json"):
        path = hands.rig.run(HOST) / name
        assert key in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(hands.rig.run(HOST).stat().st_mode) == 0o700


def test_setting_up_again_starts_nothing_twice(hands: Hands) -> None:
    hands.grantor(HOST)
    hands.guard()
    wait_until(lambda: len(hands.rig.guard_pids()) == 2, 20)
    before = sorted(hands.rig.pids_of("run-guard") + hands.rig.pids_of("run-grantor"))
    hands.grantor(HOST)
    hands.guard(digest="g2")
    assert sorted(hands.rig.pids_of("run-guard") + hands.rig.pids_of("run-grantor")) == before


def test_grants_are_revoked_and_restored(hands: Hands) -> None:
    hands.grantor(HOST)
    assert hands.revoke().startswith(
        f"{HOST} refuses them for epoch 7; it granted last to {HOST} never since it began")
    held = json.loads((hands.rig.durable(HOST) / "revoked.json").read_text())["hosts"]
    assert (held[HOST]["epoch"], held[HOST]["by"], held[HOST]["why"]) == (7, "ann", "a test")
    with pytest.raises(Refused, match=f"{HOST} refuses {HOST} for a higher epoch than 5"):
        hands.restore(epoch=5)
    assert hands.restore() == f"{HOST} grants to {HOST} again"


def test_a_controller_that_was_replaced_is_refused(hands: Hands) -> None:
    hands.grantor(HOST)
    hands.revoke(term=4)
    with pytest.raises(Refused, match="a controller of term 4 has been here"):
        hands.restore(term=3)


def test_where_no_grantor_runs_nothing_is_revoked_and_it_is_tried_again(hands: Hands) -> None:
    with pytest.raises(Unavailable, match="no grantor runs here; it is tried again"):
        hands.revoke()


@pytest.mark.parametrize(("text", "mode", "sentence"), [
    (None, 0, "cannot be read: No such file or directory"),
    ("short", 0o600, "has 5 bytes and needs 32"), ("x" * 64, 0o644, "others can read"),
])
def test_a_key_that_is_missing_short_or_open_sets_up_nothing(
        hands: Hands, text: str | None, mode: int, sentence: str) -> None:
    hands.key.unlink()
    if text is not None:
        hands.key.write_text(text)
        hands.key.chmod(mode)
    with pytest.raises(Refused, match=sentence):
        hands.guard()
    assert hands.transport.commands == []


def test_each_host_has_a_key_of_its_own() -> None:
    assert derived(b"x" * 32, "paris-1") != derived(b"x" * 32, "paris-2")

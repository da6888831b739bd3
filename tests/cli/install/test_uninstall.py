"""Leaving an estate: what is ours goes, guests run on, and what is not seen is named."""

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from controller.model.failover.record import Record
from controller.providers.simulated.estate import SimulatedEstate
from controller.providers.simulated.guarding.grants import grantor_in, guard_in
from controller.providers.simulated.world import Node
from tests.cli.shell import SPECS, Shell
from tests.cli.test_verbs import converged


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """The lab's specs, with guards on every host."""
    folder = copytree(SPECS, tmp_path / "specs")
    estate = next(path for path in folder.rglob("*.yaml") if "kind: Estate" in path.read_text())
    estate.write_text(estate.read_text().rstrip() + "\n  failover:\n    guard: {keyFile: /k}\n")
    (folder / "witness").mkdir()
    (folder / "witness" / "hq.yaml").write_text(
        "kind: Witness\nmetadata: {name: hq}\nspec: {address: 10.77.0.4, place: hq}\n")
    return folder


@pytest.fixture
def shell(tmp_path: Path, specs: Path) -> Shell:
    """A world as declared, with replicas, checkpoints, guards and grantors."""
    one = Shell(tmp_path / "state", converged)
    one("plan", str(specs))
    assert one.estate is not None
    one("apply", str(specs), "--yes")
    assert any(guard_in(node) for node in nodes(one))
    assert any(node.replicas for node in nodes(one))
    assert any(domain.checkpoints for node in nodes(one) for domain in node.domains.values())
    return one


def world_of(shell: Shell) -> SimulatedEstate:
    """Return the world of a shell."""
    assert shell.estate is not None
    return shell.estate


def nodes(shell: Shell) -> list[Node]:
    """Return every node."""
    return [*world_of(shell).world.nodes.values()]


def running(shell: Shell) -> set[tuple[str, str, str]]:
    """Return what runs where, by UUID and boot."""
    return {(node.name, domain.uuid, str(domain.state)) for node in nodes(shell)
            for domain in node.domains.values()}


def ours(shell: Shell) -> list[str]:
    """Return everything of ours but replicas."""
    found = []
    for node in nodes(shell):
        found += [f"{node.name}: {domain.name} is marked" for domain in node.domains.values()
                  if domain.ownership is not None]
        found += [f"{node.name}: {domain.name} has checkpoints"
                  for domain in node.domains.values() if domain.checkpoints]
        found += [f"{node.name}: guard"] if guard_in(node) else []
        found += [f"{node.name}: grantor"] if grantor_in(node) else []
        found += [f"{node.name}: {scope}" for scope in node.records]
    return found


def test_everything_of_ours_goes_and_guests_run_on(shell: Shell, specs: Path) -> None:
    before = running(shell)
    first = shell("uninstall", str(specs), "--yes")
    assert first.exit_code == 0, first.output
    assert ours(shell) == []
    assert running(shell) == before
    assert any(node.replicas for node in nodes(shell))
    assert "the replica of" in first.output
    again = shell("uninstall", str(specs), "--yes")
    assert again.exit_code == 0, again.output
    assert running(shell) == before


def test_a_dry_run_shows_it_and_does_nothing(shell: Shell, specs: Path) -> None:
    before = ours(shell)
    shown = shell("uninstall", str(specs), "--dry-run")
    assert shown.exit_code == 2
    assert "- end-guard Host/paris-1 on paris-1: its guests run on" in shown.output
    told = json.loads(shell("uninstall", str(specs), "--dry-run", "--json").output)
    assert {"end-guard", "end-grantor", "remove-mark", "drop-checkpoints", "forget"} <= {
        step["verb"] for step in told["steps"]}
    assert shell("uninstall", str(specs), typed="n\n").exit_code == 1
    assert ours(shell) == before


def test_replicas_go_only_for_the_name_of_their_estate(shell: Shell, specs: Path) -> None:
    wrong = shell("uninstall", str(specs), "--yes", "--delete-replicas", "other")
    assert wrong.exit_code == 1
    assert "this estate is lab, not other" in wrong.output
    assert ours(shell) != []
    assert shell("uninstall", str(specs), "--yes", "--delete-replicas", "lab").exit_code == 0
    assert not any(node.replicas for node in nodes(shell))


def test_a_silent_host_is_named_and_no_grantor_ends_that_it_may_need(shell: Shell, specs: Path
                                                                      ) -> None:
    silent = world_of(shell).world.node("milan-2")
    silent.ssh_paused = True
    before = running(shell)
    first = shell("uninstall", str(specs), "--yes")
    assert first.exit_code in {1, 5}, first.output
    assert "milan-2 does not answer" in first.output
    assert "milan-2 may have a guard, which would end its guests without them" in first.output
    assert grantor_in(world_of(shell).world.node("hq"))
    assert guard_in(silent)
    silent.ssh_paused = False
    again = shell("uninstall", str(specs), "--yes")
    assert again.exit_code == 0, again.output
    assert ours(shell) == []
    assert running(shell) == before


def test_while_a_failover_stands_nothing_is_done(shell: Shell, specs: Path) -> None:
    world_of(shell).world.node("milan-1").records["Site/paris"] = Record(
        scope="Site/paris", epoch=3, phase="led-elsewhere")
    before = ours(shell)
    refused = shell("uninstall", str(specs), "--yes")
    assert refused.exit_code == 3
    assert "the failover of Site/paris is led-elsewhere, by the record on milan-1" in refused.output
    assert ours(shell) == before


def test_while_the_loop_runs_nothing_is_done(shell: Shell, specs: Path) -> None:
    with shell.manager(None).open_store(exclusive=True):
        refused = shell("uninstall", str(specs), "--yes")
    assert refused.exit_code == 1
    assert ours(shell) != []


def test_another_estate_s_domain_is_left_alone(shell: Shell, specs: Path) -> None:
    domain = next(domain for node in nodes(shell) for domain in node.domains.values()
                  if domain.ownership is not None)
    assert domain.ownership is not None
    domain.ownership = replace(domain.ownership, estate="theirs")
    checkpoints = dict(domain.checkpoints)
    left = shell("uninstall", str(specs), "--yes")
    assert f"{domain.name} on" in left.output
    assert "it belongs to the estate theirs" in left.output
    assert domain.ownership.estate == "theirs"
    assert domain.checkpoints == checkpoints

"""A break-glass over a branch: it works without git, stays what it is, and ends."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from controller.errors import Refused, SourceUnavailable, SpecError
from controller.reconcile.break_glass.proposal import end
from controller.reconcile.manager import Manager
from tests.reconcile.break_glass.played_branch import (
    HOST,
    HOUR_S,
    Branch,
    played,
    vm,
    writes,
)
from tests.source.git.repository import ESTATE, repository

__all__ = ["played", "repository"]
MORE = writes("vms.yaml", "name: sql}\nspec:\n  cpus: 1\n  memory: 1GiB",
              "name: sql}\nspec:\n  cpus: 1\n  memory: 2GiB")


def test_it_is_in_force_while_git_is_down_and_says_so(played: Branch) -> None:
    played.go_down()
    proposal = played.breaks(MORE)
    assert proposal.glass.targets == ("VirtualMachine/sql",)
    assert (proposal.glass.by, proposal.glass.why) == ("ann", "the forge is down")
    assert played.memory("sql") == 2048
    assert "cannot be read" in played.source.fault
    assert "break-glass" in played.source.describe()
    assert "ann" in played.source.describe()


def test_its_patch_applies_with_git_and_the_commit_of_it_ends_it(played: Branch) -> None:
    played.go_down()
    patch = played.breaks(MORE).glass.patch
    played.load()
    played.come_back()
    played.applies(patch)
    played.repository.commit_all()
    assert played.memory("sql") == 2048
    assert played.store.break_glass() is None
    assert "VirtualMachine/sql is in it as in the break-glass" in played.said[-1]
    assert "+glass-" not in played.load().revision


def test_a_commit_that_is_about_something_else_changes_nothing_of_it(played: Branch) -> None:
    played.breaks(MORE)
    played.repository.commit(more__mail=vm("mail", "3GiB"),
                            vms=f"{vm('web')}---\n{vm('sql')}")    # and moves it in its file
    assert played.memory("sql") == 2048
    assert played.memory("mail") == 3072
    held = played.store.break_glass()
    assert held is not None
    played.applies(held.patch)
    played.repository.commit_all()
    assert played.memory("sql") == 2048
    assert played.store.break_glass() is None


def test_a_commit_that_decides_otherwise_ends_it_and_says_so(played: Branch) -> None:
    played.go_down()
    played.breaks(MORE)
    played.load()
    played.come_back()
    played.repository.commit(vms=f"{vm('sql', '512MiB')}---\n{vm('web')}")
    assert played.memory("sql") == 512
    assert played.store.break_glass() is None
    assert "VirtualMachine/sql is decided otherwise by it" in played.said[-1]


def test_each_object_counts_for_itself(played: Branch) -> None:
    played.breaks(lambda folder: (MORE(folder), writes("more/mail.yaml", "1GiB", "2GiB")(folder)))
    played.load()
    played.repository.commit(more__mail=vm("mail", "4GiB"))
    assert played.memory("mail") == 4096
    assert played.memory("sql") == 2048
    held = played.store.break_glass()
    assert held is not None
    assert held.targets == ("VirtualMachine/sql",)
    assert "a part is over" in played.said[-1]
    played.load()
    assert len(played.said) == 1


def test_its_time_ends_it_with_git_still_down(played: Branch) -> None:
    played.go_down()
    played.breaks(MORE, HOUR_S)
    played.load()
    played.passes(HOUR_S - 1)
    with pytest.raises(SourceUnavailable):      # nothing new: what is in force stays
        played.load()
    played.passes(2)
    assert played.memory("sql") == 1024
    assert "its time is over" in played.said[-1]
    with pytest.raises(SourceUnavailable):
        played.load()


@pytest.mark.parametrize("step_s", [-86400.0, 86400.0, 365 * 86400.0, -365 * 86400.0])
def test_a_clock_that_is_set_neither_ends_it_nor_makes_it_last(played: Branch,
                                                               step_s: float) -> None:
    played.breaks(MORE, HOUR_S)
    played.load()
    played.passes(HOUR_S / 2)
    played.wall += step_s
    assert played.memory("sql") == 2048
    held = played.store.break_glass()
    assert held is not None
    assert held.until_at == pytest.approx(played.wall + HOUR_S / 2)
    assert held.until_at - held.begun_at == pytest.approx(HOUR_S)
    played.passes(HOUR_S / 2 + 1)
    assert played.memory("sql") == 1024


def test_a_restart_with_a_clock_that_went_back_gives_it_no_more_than_its_time(
        played: Branch) -> None:
    played.breaks(MORE, HOUR_S)
    played.load()
    played.wall -= 365 * 86400.0
    played.steady = 1e6
    played.start()
    assert played.memory("sql") == 2048
    played.passes(HOUR_S + 1)
    assert played.memory("sql") == 1024


def test_a_restart_in_the_middle_finds_it_in_force_without_git(played: Branch) -> None:
    played.breaks(MORE)
    played.go_down()
    played.start()
    assert played.memory("sql") == 2048
    played.start()
    played.passes(5 * HOUR_S)
    assert played.memory("sql") == 1024


def test_what_does_not_hold_together_changes_nothing_and_names_the_way_out(
        played: Branch) -> None:
    played.breaks(lambda folder: (folder / "new.yaml").write_text(
        "kind: VirtualMachine\nmetadata: {name: extra}\n"
        "spec: {cpus: 1, memory: 1GiB, placement: {site: paris, host: kvm1}}\n"))
    assert "extra" in played.load().virtual_machines
    played.repository.commit(host="")
    with pytest.raises(SpecError, match="do not hold together.*kvm1.*break-glass end"):
        played.load()
    assert played.store.break_glass() is not None
    for number in range(4):         # however many commits come meanwhile
        played.repository.commit(more__mail=vm("mail", f"{number + 2}GiB"))
        with pytest.raises(SpecError, match="do not hold together"):
            played.load()
    played.start()                   # a restart goes on with what held together before
    assert set(played.load().hosts) == {"kvm1", "kvm2"}
    assert "do not hold together" in played.source.fault
    end(played.store, "bob", played.wall)
    assert set(played.load().hosts) == {"kvm2"}


def test_a_person_ends_it_and_nobody_ends_it_twice(played: Branch) -> None:
    played.breaks(MORE)
    played.load()
    assert end(played.store, "bob", played.wall).by == "ann"
    with pytest.raises(Refused, match="nothing to end"):
        end(played.store, "bob", played.wall)
    assert played.memory("sql") == 1024
    assert played.said == []         # whoever ended it has said it


def test_one_that_is_over_and_not_understood_any_more_holds_nothing_back(played: Branch) -> None:
    played.breaks(MORE)
    end(played.store, "bob", played.wall)
    with sqlite3.connect(played.state / "state.db") as database:
        database.execute("UPDATE break_glass SET content = '{}'")
    assert played.store.break_glass() is None
    assert played.memory("sql") == 1024


def test_changes_wakes_for_it_and_for_its_end(played: Branch) -> None:
    async def woken() -> None:
        changes = aiter(played.source.changes())
        await asyncio.wait_for(anext(changes), 60)

    played.breaks(MORE, HOUR_S)
    asyncio.run(woken())
    played.load()
    played.passes(2 * HOUR_S)
    asyncio.run(woken())


def test_a_reader_ends_nothing_and_writes_nothing(played: Branch) -> None:
    from controller.reconcile.break_glass.source import GlassSource

    played.breaks(MORE, HOUR_S)
    before = played.store.break_glass()
    reader = GlassSource(played.source.branch, played.store, lambda: played.wall,
                         lambda: played.steady, keeps=False)
    assert asyncio.run(reader.load()).virtual_machines["sql"].spec.memory_bytes == 2 << 30
    played.passes(2 * HOUR_S)
    assert asyncio.run(reader.load()).virtual_machines["sql"].spec.memory_bytes == 1 << 30
    assert played.store.break_glass() == before
    assert not (played.source.branch.folder / "glass").exists()


def test_what_verbs_load_of_the_branch_has_it_over_it(played: Branch) -> None:
    manager = Manager(played.state, clock=lambda: played.wall)
    played.breaks(MORE)
    played.go_down()
    found = asyncio.run(manager.load(played.repository.address))
    assert found.virtual_machines["sql"].spec.memory_bytes == 2 << 30
    end(played.store, "bob", played.wall)
    found = asyncio.run(manager.load(played.repository.address))
    assert found.virtual_machines["sql"].spec.memory_bytes == 1 << 30


def test_a_folder_of_a_repository_gives_a_patch_for_its_top(played: Branch) -> None:
    played.folder = "more"
    played.repository.commit(more__estate=ESTATE, more__host=HOST % (1, 1))
    played.state = Path(f"{played.state}-2")
    played.start()
    played.load()
    patch = played.breaks(writes("mail.yaml", "1GiB", "2GiB")).glass.patch
    played.applies(patch)
    assert "2GiB" in (played.repository.clone / "more" / "mail.yaml").read_text()

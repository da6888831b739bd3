"""A break-glass over a branch: it works without git, stays what it is, and ends."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from controller.errors import Refused, SourceUnavailable, SpecError
from controller.reconcile.glass.proposal import end
from controller.reconcile.manager import Manager
from tests.reconcile.glass.tower import ESTATE, HOST, HOUR_S, Tower, tower, vm, writes
from tests.source.git.repository import repository

__all__ = ["repository", "tower"]
MORE = writes("vms.yaml", "name: sql}\nspec:\n  cpus: 1\n  memory: 1GiB",
              "name: sql}\nspec:\n  cpus: 1\n  memory: 2GiB")


def test_it_is_in_force_while_git_is_down_and_says_so(tower: Tower) -> None:
    tower.go_down()
    proposal = tower.breaks(MORE)
    assert proposal.glass.targets == ("VirtualMachine/sql",)
    assert (proposal.glass.by, proposal.glass.why) == ("ann", "the forge is down")
    assert tower.memory("sql") == 2048
    assert "cannot be read" in tower.source.fault
    assert "break-glass" in tower.source.describe()
    assert "ann" in tower.source.describe()


def test_its_patch_applies_with_git_and_the_commit_of_it_ends_it(tower: Tower) -> None:
    tower.go_down()
    patch = tower.breaks(MORE).glass.patch
    tower.load()
    tower.come_back()
    tower.applies(patch)
    tower.repository.commit_all()
    assert tower.memory("sql") == 2048
    assert tower.store.break_glass() is None
    assert "VirtualMachine/sql is in it as in the break-glass" in tower.said[-1]
    assert "+glass-" not in tower.load().revision


def test_a_commit_that_is_about_something_else_changes_nothing_of_it(tower: Tower) -> None:
    tower.breaks(MORE)
    tower.repository.commit(more__mail=vm("mail", "3GiB"),
                            vms=f"{vm('web')}---\n{vm('sql')}")    # and moves it in its file
    assert tower.memory("sql") == 2048
    assert tower.memory("mail") == 3072
    held = tower.store.break_glass()
    assert held is not None
    tower.applies(held.patch)
    tower.repository.commit_all()
    assert tower.memory("sql") == 2048
    assert tower.store.break_glass() is None


def test_a_commit_that_decides_otherwise_ends_it_and_says_so(tower: Tower) -> None:
    tower.go_down()
    tower.breaks(MORE)
    tower.load()
    tower.come_back()
    tower.repository.commit(vms=f"{vm('sql', '512MiB')}---\n{vm('web')}")
    assert tower.memory("sql") == 512
    assert tower.store.break_glass() is None
    assert "VirtualMachine/sql is decided otherwise by it" in tower.said[-1]


def test_each_object_counts_for_itself(tower: Tower) -> None:
    tower.breaks(lambda folder: (MORE(folder), writes("more/mail.yaml", "1GiB", "2GiB")(folder)))
    tower.load()
    tower.repository.commit(more__mail=vm("mail", "4GiB"))
    assert tower.memory("mail") == 4096
    assert tower.memory("sql") == 2048
    held = tower.store.break_glass()
    assert held is not None
    assert held.targets == ("VirtualMachine/sql",)
    assert "a part is over" in tower.said[-1]
    tower.load()
    assert len(tower.said) == 1


def test_its_time_ends_it_with_git_still_down(tower: Tower) -> None:
    tower.go_down()
    tower.breaks(MORE, HOUR_S)
    tower.load()
    tower.passes(HOUR_S - 1)
    with pytest.raises(SourceUnavailable):      # nothing new: what is in force stays
        tower.load()
    tower.passes(2)
    assert tower.memory("sql") == 1024
    assert "its time is over" in tower.said[-1]
    with pytest.raises(SourceUnavailable):
        tower.load()


@pytest.mark.parametrize("step_s", [-86400.0, 86400.0, 365 * 86400.0, -365 * 86400.0])
def test_a_clock_that_is_set_neither_ends_it_nor_makes_it_last(tower: Tower,
                                                               step_s: float) -> None:
    tower.breaks(MORE, HOUR_S)
    tower.load()
    tower.passes(HOUR_S / 2)
    tower.wall += step_s
    assert tower.memory("sql") == 2048
    held = tower.store.break_glass()
    assert held is not None
    assert held.until_at == pytest.approx(tower.wall + HOUR_S / 2)
    assert held.until_at - held.begun_at == pytest.approx(HOUR_S)
    tower.passes(HOUR_S / 2 + 1)
    assert tower.memory("sql") == 1024


def test_a_restart_with_a_clock_that_went_back_gives_it_no_more_than_its_time(
        tower: Tower) -> None:
    tower.breaks(MORE, HOUR_S)
    tower.load()
    tower.wall -= 365 * 86400.0
    tower.steady = 1e6
    tower.start()
    assert tower.memory("sql") == 2048
    tower.passes(HOUR_S + 1)
    assert tower.memory("sql") == 1024


def test_a_restart_in_the_middle_finds_it_in_force_without_git(tower: Tower) -> None:
    tower.breaks(MORE)
    tower.go_down()
    tower.start()
    assert tower.memory("sql") == 2048
    tower.start()
    tower.passes(5 * HOUR_S)
    assert tower.memory("sql") == 1024


def test_what_does_not_hold_together_changes_nothing_and_names_the_way_out(
        tower: Tower) -> None:
    tower.breaks(lambda folder: (folder / "new.yaml").write_text(
        "kind: VirtualMachine\nmetadata: {name: extra}\n"
        "spec: {cpus: 1, memory: 1GiB, placement: {site: paris, host: kvm1}}\n"))
    assert "extra" in tower.load().virtual_machines
    tower.repository.commit(host="")
    with pytest.raises(SpecError, match="do not hold together.*kvm1.*break-glass end"):
        tower.load()
    assert tower.store.break_glass() is not None
    for number in range(4):         # however many commits come meanwhile
        tower.repository.commit(more__mail=vm("mail", f"{number + 2}GiB"))
        with pytest.raises(SpecError, match="do not hold together"):
            tower.load()
    tower.start()                   # a restart goes on with what held together before
    assert set(tower.load().hosts) == {"kvm1", "kvm2"}
    assert "do not hold together" in tower.source.fault
    end(tower.store, "bob", tower.wall)
    assert set(tower.load().hosts) == {"kvm2"}


def test_a_person_ends_it_and_nobody_ends_it_twice(tower: Tower) -> None:
    tower.breaks(MORE)
    tower.load()
    assert end(tower.store, "bob", tower.wall).by == "ann"
    with pytest.raises(Refused, match="nothing to end"):
        end(tower.store, "bob", tower.wall)
    assert tower.memory("sql") == 1024
    assert tower.said == []         # whoever ended it has said it


def test_one_that_is_over_and_not_understood_any_more_holds_nothing_back(tower: Tower) -> None:
    tower.breaks(MORE)
    end(tower.store, "bob", tower.wall)
    with sqlite3.connect(tower.state / "state.db") as database:
        database.execute("UPDATE break_glass SET content = '{}'")
    assert tower.store.break_glass() is None
    assert tower.memory("sql") == 1024


def test_changes_wakes_for_it_and_for_its_end(tower: Tower) -> None:
    async def woken() -> None:
        changes = aiter(tower.source.changes())
        await asyncio.wait_for(anext(changes), 60)

    tower.breaks(MORE, HOUR_S)
    asyncio.run(woken())
    tower.load()
    tower.passes(2 * HOUR_S)
    asyncio.run(woken())


def test_a_reader_ends_nothing_and_writes_nothing(tower: Tower) -> None:
    from controller.reconcile.glass.source import GlassSource

    tower.breaks(MORE, HOUR_S)
    before = tower.store.break_glass()
    reader = GlassSource(tower.source.branch, tower.store, lambda: tower.wall,
                         lambda: tower.steady, keeps=False)
    assert asyncio.run(reader.load()).virtual_machines["sql"].spec.memory_bytes == 2 << 30
    tower.passes(2 * HOUR_S)
    assert asyncio.run(reader.load()).virtual_machines["sql"].spec.memory_bytes == 1 << 30
    assert tower.store.break_glass() == before
    assert not (tower.source.branch.folder / "glass").exists()


def test_what_verbs_load_of_the_branch_has_it_over_it(tower: Tower) -> None:
    manager = Manager(tower.state, clock=lambda: tower.wall)
    tower.breaks(MORE)
    tower.go_down()
    found = asyncio.run(manager.load(tower.repository.address))
    assert found.virtual_machines["sql"].spec.memory_bytes == 2 << 30
    end(tower.store, "bob", tower.wall)
    found = asyncio.run(manager.load(tower.repository.address))
    assert found.virtual_machines["sql"].spec.memory_bytes == 1 << 30


def test_a_folder_of_a_repository_gives_a_patch_for_its_top(tower: Tower) -> None:
    tower.folder = "more"
    tower.repository.commit(more__estate=ESTATE, more__host=HOST % (1, 1))
    tower.state = Path(f"{tower.state}-2")
    tower.start()
    tower.load()
    patch = tower.breaks(writes("mail.yaml", "1GiB", "2GiB")).glass.patch
    tower.applies(patch)
    assert "2GiB" in (tower.repository.clone / "more" / "mail.yaml").read_text()

"""What may be put in force over git, and what is refused before anybody says yes to it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import Refused, SourceUnavailable, SpecError
from controller.reconcile.glass.proposal import begin, branch_of, given_up, propose
from controller.store.store import Store
from tests.reconcile.glass.test_glass_source import MORE
from tests.reconcile.glass.tower import ESTATE, HOUR_S, Tower, tower, vm, writes
from tests.source.git.repository import repository

__all__ = ["repository", "tower"]


def test_the_rules_of_the_estate_are_not_changed_this_way(tower: Tower) -> None:
    with pytest.raises(Refused, match="Estate/lab.*a commit does that"):
        tower.breaks(writes("estate.yaml", "spec:\n  ssh", "spec:\n  autonomy: delete\n  ssh"))


def declares(tower: Tower, autonomy: str) -> None:
    """Commit an estate whose loop may do anything, and a VM with an autonomy of its own."""
    tower.repository.commit(
        estate=ESTATE.replace("spec:\n  ssh", "spec:\n  autonomy: delete\n  ssh"),
        more__mail=vm("mail").replace("cpus: 1", f"cpus: 1{autonomy}"))
    tower.load()


@pytest.mark.parametrize(("was", "now"), [
    ("", "\n  autonomy: delete"), ("\n  autonomy: report", "\n  autonomy: restart"),
    ("\n  autonomy: report", "")])
def test_no_object_grants_the_loop_more_than_the_commit_does(tower: Tower, was: str,
                                                             now: str) -> None:
    declares(tower, was)
    with pytest.raises(Refused, match="VirtualMachine/mail would grant more `autonomy`"):
        tower.breaks(writes("more/mail.yaml", f"cpus: 1{was}\n", f"cpus: 1{now}\n"))


def test_an_object_may_grant_the_loop_less(tower: Tower) -> None:
    declares(tower, "\n  autonomy: restart")
    less = tower.breaks(writes("more/mail.yaml", "autonomy: restart", "autonomy: report"))
    assert less.glass.targets == ("VirtualMachine/mail",)


def test_data_is_neither_deleted_nor_made_deletable(tower: Tower) -> None:
    with pytest.raises(Refused, match="takes no data away"):
        tower.breaks(writes("more/mail.yaml", "cpus: 1", "cpus: 1\n  deletion: delete"))
    tower.repository.commit(more__mail=vm("mail") + "  deletion: delete\n")
    tower.load()
    with pytest.raises(Refused, match="takes no data away"):
        tower.breaks(lambda folder: (folder / "more/mail.yaml").unlink())
    assert tower.breaks(writes("more/mail.yaml", "1GiB", "2GiB")).glass.targets == (
        "VirtualMachine/mail",)


def test_wrong_specs_are_refused_with_their_line(tower: Tower) -> None:
    with pytest.raises(SpecError, match="mail.yaml:6"):
        tower.breaks(writes("more/mail.yaml", "1GiB", "plenty"))
    assert tower.store.break_glass() is None


@pytest.mark.parametrize("span_s", [0.0, -1.0, 73 * HOUR_S, float("nan"), float("inf")])
def test_it_lasts_for_a_time_that_is_bounded(tower: Tower, span_s: float) -> None:
    with pytest.raises(Refused, match="lasts 3d at most"):
        tower.breaks(MORE, span_s)


@pytest.mark.parametrize("why", ["", "  ", "two\nlines", "\x1b[31mred", "x" * 501])
def test_a_reason_is_one_line_that_people_can_read(tower: Tower, why: str) -> None:
    with pytest.raises(Refused, match="reason"):
        asyncio.run(propose(tower.source.branch, tower.copied(), "ann", why, HOUR_S, tower.wall))


def test_a_copy_of_an_earlier_commit_is_refused(tower: Tower) -> None:
    folder = tower.copied()
    MORE(folder)
    tower.repository.commit(more__mail=vm("mail", "3GiB"))
    tower.load()
    with pytest.raises(Refused, match="would take back what came since"):
        tower.proposed(folder)


def test_a_folder_that_changes_nothing_breaks_no_glass(tower: Tower) -> None:
    with pytest.raises(Refused, match="nothing to break the glass for"):
        tower.breaks(writes("vms.yaml", "# sql: who calls", "# who calls"))
    with pytest.raises(Refused, match="nothing to break the glass for"):
        tower.breaks(lambda folder: (folder / "vms.yaml").rename(folder / "others.yaml"))


def test_a_second_one_takes_the_place_of_the_first_and_a_copy_holds_that(tower: Tower) -> None:
    tower.breaks(MORE)
    tower.load()
    second = tower.breaks(writes("more/mail.yaml", "1GiB", "2GiB"))
    assert second.glass.targets == ("VirtualMachine/mail", "VirtualMachine/sql")
    assert tower.memory("sql") == tower.memory("mail") == 2048


def test_one_that_has_less_than_the_one_before_says_what_goes_back(tower: Tower) -> None:
    folder = tower.copied()             # before the first: it has nothing of that
    tower.breaks(MORE)
    tower.load()
    writes("more/mail.yaml", "1GiB", "2GiB")(folder)
    before, proposal = tower.store.break_glass(), tower.proposed(folder)
    assert given_up(before, before or proposal.glass) == given_up(None, proposal.glass) == ""
    begin(tower.store, proposal.glass, tower.wall)
    assert tower.store.events(1)[0].sentence.endswith(
        "It takes the place of the break-glass of ann: VirtualMachine/sql is as git says again, by"
        " the ordinary gates")


def writes_json(folder: Path) -> None:
    """Add a VM in a file of another kind, in a new folder."""
    (folder / "deep").mkdir()
    (folder / "deep" / "a b.json").write_text(
        '{"kind": "VirtualMachine", "metadata": {"name": "extra"}, "spec": {"cpus": 1,'
        ' "memory": "1GiB", "placement": {"site": "paris"}}}')


@pytest.mark.parametrize("edit", [
    lambda folder: (folder / "vms.yaml").unlink(),
    lambda folder: (folder / "vms.yaml").write_text(vm("web")),
    lambda folder: (folder / "vms.yaml").write_text(f"{vm('extra')}---\n{vm('sql', '2GiB')}"
                                                    f"---\n{vm('web')}"),
    lambda folder: (folder / "vms.yaml").write_text(vm("web", "2GiB") + "---\n" + vm("sql")),
    writes_json,
    lambda folder: (folder / "vms.yaml").write_text(vm("sql") + "---\n" + vm("web", "3GiB")[:-1]),
], ids=["both-removed", "one-removed", "one-added", "order", "json", "no-newline"])
def test_its_patch_makes_of_the_branch_what_is_in_force(
        tower: Tower, edit: Callable[[Path], object]) -> None:
    folder = tower.copied()
    edit(folder)
    proposal = tower.proposed(folder)
    tower.applies(proposal.glass.patch)
    tower.repository.commit_all()
    found = tower.load()
    assert found.virtual_machines == proposal.desired.virtual_machines


def test_lines_that_end_as_on_windows_stay_so(tower: Tower) -> None:
    path = tower.repository.clone / "more" / "mail.yaml"
    path.write_bytes(vm("mail").replace("\n", "\r\n").encode())
    tower.repository.commit_all()
    tower.load()
    patch = tower.breaks(writes("more/mail.yaml", "1GiB", "2GiB")).glass.patch
    assert len([line for line in patch.splitlines() if line.startswith(("+ ", "- "))]) == 2
    tower.applies(patch)
    assert b"memory: 2GiB\r\n" in path.read_bytes()


def test_files_that_lead_out_of_the_specs_are_not_written(tower: Tower, tmp_path: Path) -> None:
    def leads_out(folder: Path) -> None:
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (folder / "out").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "vm.yaml").write_text(vm("extra"))

    with pytest.raises(SpecError, match="out"):
        tower.breaks(leads_out)


def test_a_loop_that_follows_a_folder_or_nothing_has_no_glass_to_break(tmp_path: Path) -> None:
    (tmp_path / "estate.yaml").write_text(ESTATE)
    store = Store.open(":memory:")
    with pytest.raises(SourceUnavailable, match="no loop has run"):
        branch_of(store, tmp_path)
    store.save_status({"source": {"where": str(tmp_path)}, "at": 0.0})
    with pytest.raises(Refused, match="follows folder .*: edit that"):
        branch_of(store, tmp_path)

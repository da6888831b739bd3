"""What may be put in force over git, and what is refused before anybody says yes to it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import Refused, SourceUnavailable, SpecError
from controller.reconcile.break_glass.proposal import begin, branch_of, given_up, propose
from controller.store.store import Store
from tests.reconcile.break_glass.played_branch import HOUR_S, Branch, played, vm, writes
from tests.reconcile.break_glass.test_glass_source import MORE
from tests.source.git.repository import ESTATE, repository

__all__ = ["played", "repository"]


def test_the_rules_of_the_estate_are_not_changed_this_way(played: Branch) -> None:
    with pytest.raises(Refused, match="Estate/lab.*a commit does that"):
        played.breaks(writes("estate.yaml", "spec:\n  ssh", "spec:\n  autonomy: delete\n  ssh"))


def declares(played: Branch, autonomy: str) -> None:
    """Commit an estate whose loop may do anything, and a VM with an autonomy of its own."""
    played.repository.commit(
        estate=ESTATE.replace("spec:\n  ssh", "spec:\n  autonomy: delete\n  ssh"),
        more__mail=vm("mail").replace("cpus: 1", f"cpus: 1{autonomy}"))
    played.load()


@pytest.mark.parametrize(("was", "now"), [
    ("", "\n  autonomy: delete"), ("\n  autonomy: report", "\n  autonomy: restart"),
    ("\n  autonomy: report", "")])
def test_no_object_grants_the_loop_more_than_the_commit_does(played: Branch, was: str,
                                                             now: str) -> None:
    declares(played, was)
    with pytest.raises(Refused, match="VirtualMachine/mail would grant more `autonomy`"):
        played.breaks(writes("more/mail.yaml", f"cpus: 1{was}\n", f"cpus: 1{now}\n"))


def test_an_object_may_grant_the_loop_less(played: Branch) -> None:
    declares(played, "\n  autonomy: restart")
    less = played.breaks(writes("more/mail.yaml", "autonomy: restart", "autonomy: report"))
    assert less.glass.targets == ("VirtualMachine/mail",)


def test_data_is_neither_deleted_nor_made_deletable(played: Branch) -> None:
    with pytest.raises(Refused, match="takes no data away"):
        played.breaks(writes("more/mail.yaml", "cpus: 1", "cpus: 1\n  deletion: delete"))
    played.repository.commit(more__mail=vm("mail") + "  deletion: delete\n")
    played.load()
    with pytest.raises(Refused, match="takes no data away"):
        played.breaks(lambda folder: (folder / "more/mail.yaml").unlink())
    assert played.breaks(writes("more/mail.yaml", "1GiB", "2GiB")).glass.targets == (
        "VirtualMachine/mail",)


def test_wrong_specs_are_refused_with_their_line(played: Branch) -> None:
    with pytest.raises(SpecError, match="mail.yaml:6"):
        played.breaks(writes("more/mail.yaml", "1GiB", "plenty"))
    assert played.store.break_glass() is None


@pytest.mark.parametrize("span_s", [0.0, -1.0, 73 * HOUR_S, float("nan"), float("inf")])
def test_it_lasts_for_a_time_that_is_bounded(played: Branch, span_s: float) -> None:
    with pytest.raises(Refused, match="lasts 3d at most"):
        played.breaks(MORE, span_s)


@pytest.mark.parametrize("why", ["", "  ", "two\nlines", "\x1b[31mred", "x" * 501])
def test_a_reason_is_one_line_that_people_can_read(played: Branch, why: str) -> None:
    with pytest.raises(Refused, match="reason"):
        asyncio.run(propose(played.source.branch, played.copied(), "ann", why, HOUR_S, played.wall))


def test_a_copy_of_an_earlier_commit_is_refused(played: Branch) -> None:
    folder = played.copied()
    MORE(folder)
    played.repository.commit(more__mail=vm("mail", "3GiB"))
    played.load()
    with pytest.raises(Refused, match="would take back what came since"):
        played.proposed(folder)


def test_a_folder_that_changes_nothing_breaks_no_glass(played: Branch) -> None:
    with pytest.raises(Refused, match="nothing to break the glass for"):
        played.breaks(writes("vms.yaml", "# sql: who calls", "# who calls"))
    with pytest.raises(Refused, match="nothing to break the glass for"):
        played.breaks(lambda folder: (folder / "vms.yaml").rename(folder / "others.yaml"))


def test_a_second_one_takes_the_place_of_the_first_and_a_copy_holds_that(played: Branch) -> None:
    played.breaks(MORE)
    played.load()
    second = played.breaks(writes("more/mail.yaml", "1GiB", "2GiB"))
    assert second.glass.targets == ("VirtualMachine/mail", "VirtualMachine/sql")
    assert played.memory("sql") == played.memory("mail") == 2048


def test_one_that_has_less_than_the_one_before_says_what_goes_back(played: Branch) -> None:
    folder = played.copied()             # before the first: it has nothing of that
    played.breaks(MORE)
    played.load()
    writes("more/mail.yaml", "1GiB", "2GiB")(folder)
    before, proposal = played.store.break_glass(), played.proposed(folder)
    assert given_up(before, before or proposal.glass) == given_up(None, proposal.glass) == ""
    begin(played.store, proposal.glass, played.wall)
    assert played.store.events(1)[0].sentence.endswith(
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
        played: Branch, edit: Callable[[Path], object]) -> None:
    folder = played.copied()
    edit(folder)
    proposal = played.proposed(folder)
    played.applies(proposal.glass.patch)
    played.repository.commit_all()
    found = played.load()
    assert found.virtual_machines == proposal.desired.virtual_machines


def test_lines_that_end_as_on_windows_stay_so(played: Branch) -> None:
    path = played.repository.clone / "more" / "mail.yaml"
    path.write_bytes(vm("mail").replace("\n", "\r\n").encode())
    played.repository.commit_all()
    played.load()
    patch = played.breaks(writes("more/mail.yaml", "1GiB", "2GiB")).glass.patch
    assert len([line for line in patch.splitlines() if line.startswith(("+ ", "- "))]) == 2
    played.applies(patch)
    assert b"memory: 2GiB\r\n" in path.read_bytes()


def test_files_that_lead_out_of_the_specs_are_not_written(played: Branch, tmp_path: Path) -> None:
    def leads_out(folder: Path) -> None:
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (folder / "out").symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere" / "vm.yaml").write_text(vm("extra"))

    with pytest.raises(SpecError, match="out"):
        played.breaks(leads_out)


def test_a_loop_that_follows_a_folder_or_nothing_has_no_glass_to_break(tmp_path: Path) -> None:
    (tmp_path / "estate.yaml").write_text(ESTATE)
    store = Store.open(":memory:")
    with pytest.raises(SourceUnavailable, match="no loop has run"):
        branch_of(store, tmp_path)
    store.save_status({"source": {"where": str(tmp_path)}, "at": 0.0})
    with pytest.raises(Refused, match="follows folder .*: edit that"):
        branch_of(store, tmp_path)

"""`plan --from --to` and `validate --at` as jobs of a forge call them, over a simulated estate."""

import json
import re
from pathlib import Path
from shutil import copytree

import pytest

from controller.model.desired import Desired
from controller.providers.simulated.estate import SimulatedEstate
from tests.cli.shell import SPECS, Clock, Shell
from tests.source.git.repository import Repository, repository

__all__ = ["repository"]
WEB = "virtual_machine/web.yaml"


EVIL = "a`b```` <img src=x onerror=alert(1)> @everyone [x](http://evil.example) #1"


def outside(markdown: str) -> str:
    """Return what a forge takes for markup: all that is in no fenced block."""
    return re.sub(r"(?ms)^(`{3,})diff\n.*?^\1$", "", markdown)


def converged(desired: Desired, clock: Clock) -> SimulatedEstate:
    """Return a world that is as declared."""
    return SimulatedEstate(desired, converged=True, clock=clock)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell over a converged world."""
    return Shell(tmp_path / "state", converged)


@pytest.fixture
def estate(repository: Repository) -> Repository:
    """Return a repository with the specs of the lab on `main`, and a branch `change`."""
    copytree(SPECS, repository.clone, dirs_exist_ok=True)
    repository.commit_all()
    repository.git("checkout", "--quiet", "-b", "change")
    return repository


def edit(estate: Repository, old: str, new: str, name: str = WEB) -> None:
    """Commit an edit of a file on the branch that is checked out."""
    path = estate.clone / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    estate.commit_all(push=False)


def test_a_change_brings_its_own_steps_and_not_what_comes_anyway(
        shell: Shell, estate: Repository) -> None:
    assert shell("plan", str(estate.clone)).exit_code == 0
    assert shell.estate is not None
    shell.estate.command("kill paris-1 sql")
    edit(estate, "memory: 128MiB", "memory: 192MiB")
    told = shell("plan", str(estate.clone), "--from", "main")
    assert told.exit_code == 2, told.output
    assert "  ~ VirtualMachine/web" in told.output
    assert "start sql" not in told.output
    assert "1 more would come anyway. Nothing was done." in told.output


def test_a_change_that_needs_nothing_done_ends_with_0(shell: Shell, estate: Repository) -> None:
    edit(estate, "tier: front", "tier: front, owner: ann")
    told = shell("plan", str(estate.clone), "--from", "main", "--json")
    value = json.loads(told.output)
    assert (told.exit_code, value["exit"], value["steps"]) == (0, 0, [])
    assert value["edited"] == ["VirtualMachine/web"]


def test_the_merge_base_leaves_out_what_happened_on_the_other_branch(
        shell: Shell, estate: Repository) -> None:
    edit(estate, "memory: 128MiB", "memory: 192MiB")
    estate.git("checkout", "--quiet", "main")
    edit(estate, "cpus: 1", "cpus: 2", "virtual_machine/mail.yaml")
    words = ("plan", str(estate.clone), "--from", "main", "--to", "change", "--json")
    assert json.loads(shell(*words).output)["edited"] == [
        "VirtualMachine/mail", "VirtualMachine/web"]
    assert json.loads(shell(*words, "--merge-base").output)["edited"] == ["VirtualMachine/web"]


def test_the_last_look_is_enough_and_nobody_is_asked(shell: Shell, estate: Repository) -> None:
    applied = shell("apply", str(estate.clone), "--yes")
    assert applied.exit_code == 0, applied.output
    assert shell.estate is not None
    for node in shell.estate.world.nodes.values():
        node.babbling = True
    edit(estate, "memory: 128MiB", "memory: 192MiB")
    told = shell("plan", str(estate.clone), "--from", "main", "--facts", "last")
    assert told.exit_code == 2, told.output
    assert "as last seen by the loop, 2" in told.output
    assert "could not be" not in told.output
    now = shell("plan", str(estate.clone), "--from", "main")
    assert "This brings: no change." in now.output, now.output


def test_without_a_last_look_nothing_is_concluded(shell: Shell, estate: Repository) -> None:
    told = shell("plan", str(estate.clone), "--from", "main", "--facts", "last")
    assert told.exit_code == 5
    assert "no node was ever looked at" in told.output


def test_hosts_that_only_the_new_revision_names_are_not_contacted(
        shell: Shell, estate: Repository) -> None:
    host = (estate.clone / "host" / "paris-1.yaml").read_text()
    host = re.sub(r"(?m)^  bmc:.*\n(    .*\n)*", "", host)
    (estate.clone / "host" / "evil.yaml").write_text(
        host.replace("name: paris-1", "name: evil").replace("10.77.0.11", "10.66.6.6")
        .replace("10.78.0.11", "10.66.6.7"))
    estate.commit_all(push=False)
    told = shell("plan", str(estate.clone), "--from", "main")
    assert "? Host/evil" in told.output, told.output
    assert shell.estate is not None
    assert "evil" not in shell.estate.world.nodes


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_a_revision_that_is_invalid_is_told_by_its_lines_and_status_4(
        shell: Shell, estate: Repository, form: str) -> None:
    edit(estate, "memory:", "memry:")
    told = shell("plan", str(estate.clone), "--from", "main", "--format", form)
    assert told.exit_code == 4
    assert f"{WEB}:9:3: unknown field `memry`" in told.output


def test_what_is_assumed_has_to_be_declared_by_both(shell: Shell, estate: Repository) -> None:
    edit(estate, "memory: 128MiB", "memory: 192MiB")
    told = shell("plan", str(estate.clone), "--from", "main", "--assume", "site=lyon:down")
    assert told.exit_code == 4
    assert "no site lyon is declared" in told.output


def test_a_loss_is_asked_of_the_change(shell: Shell, estate: Repository) -> None:
    edit(estate, "  protection: gold\n", "")
    told = shell("plan", str(estate.clone), "--from", "main", "--assume", "site=paris:down",
                 "--json")
    value = json.loads(told.output)
    assert "web (128MiB) would be lost with paris-2 and not come back: no protection policy" in (
        " ".join(one["sentence"] for one in value["remarks"]))
    assert {one["machine"]: one["reasons"][0] for one in value["stranded"]} == {
        "web": "nothing gives it a replica any more",
        "mail": "web of the same group front is on milan-1, too"}
    assert told.exit_code == 3


@pytest.mark.parametrize("words", [
    ("--to", "HEAD"), ("--merge-base",), ("--facts", "last"), ("--from", "main", "--out", "x")])
def test_options_that_do_not_go_together_say_so(
        shell: Shell, estate: Repository, words: tuple[str, ...]) -> None:
    told = shell("plan", str(estate.clone), *words)
    assert told.exit_code == 4
    assert "--from" in told.output


def test_names_never_become_markup(shell: Shell, estate: Repository) -> None:
    edit(estate, "memory: 128MiB", f"'{EVIL}': 128MiB")
    told = shell("plan", str(estate.clone), "--from", "main", "--format", "markdown")
    assert told.exit_code == 4
    assert "onerror" in told.stdout
    assert not set(outside(told.stdout)) & set("<>@[]\\`&"), outside(told.stdout)


def test_validate_takes_a_revision_or_an_address(shell: Shell, estate: Repository) -> None:
    edit(estate, "memory:", "memry:")
    assert shell("validate", str(estate.clone), "--at", "main").exit_code == 0
    wrong = shell("validate", str(estate.clone), "--at", "change")
    assert wrong.exit_code == 4
    assert f"{WEB}:9:3: unknown field `memry`" in wrong.output
    told = shell("validate", estate.address, "--json")
    assert told.exit_code == 0, told.output
    assert json.loads(told.output)["objects"]["VirtualMachine"] == 6


def test_validate_of_a_repository_that_is_not_there_is_unknown(
        shell: Shell, tmp_path: Path) -> None:
    told = shell("validate", f"git+file://{tmp_path}/none.git#main", "--json")
    assert told.exit_code == 5
    assert "cannot be fetched" in json.loads(told.stdout)["problems"][0]

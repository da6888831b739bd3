"""The verbs over a simulated estate: their output and their exit status."""

import json
from pathlib import Path
from shutil import copytree

import pytest

from controller.cli.shared import IN_THE_MIDDLE, wait_for
from controller.model.desired import Desired
from controller.providers.simulated.estate import SimulatedEstate
from tests.cli.shell import SPECS, Clock, Shell


def bare(desired: Desired, clock: Clock) -> SimulatedEstate:
    """Return a world in which nothing is done yet."""
    return SimulatedEstate(desired, clock=clock)


def converged(desired: Desired, clock: Clock) -> SimulatedEstate:
    """Return a world that is as declared."""
    return SimulatedEstate(desired, converged=True, clock=clock)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell over a converged world."""
    return Shell(tmp_path / "state", converged)


def broken(shell: Shell, fault: str = "kill paris-1 sql") -> None:
    """Make the world, and break it."""
    assert shell("plan", str(SPECS)).exit_code == 0
    assert shell.estate is not None
    shell.estate.command(fault)


def test_ctrl_c_in_the_middle_says_what_becomes_of_what_had_begun(
        capsys: pytest.CaptureFixture[str]) -> None:
    async def stopped() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wait_for(stopped(), interrupted=IN_THE_MIDDLE)
    assert "the next apply or run looks at them" in capsys.readouterr().err


def test_from_nothing_to_converged_in_three_commands(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "state", bare)
    planned = shell("plan", str(SPECS))
    assert planned.exit_code == 2
    assert "+ start sql" in planned.output
    assert planned.output.splitlines()[-1].startswith("40 changes. Nothing was done. Run")
    applied = shell("apply", str(SPECS), "--yes")
    assert applied.exit_code == 0, applied.output
    assert "✓ started sql on paris-1" in applied.output
    again = shell("plan", str(SPECS))
    assert again.exit_code == 0
    assert again.output.startswith("No change: the estate is as revision")


def test_what_waits_for_a_person_is_not_as_declared(shell: Shell) -> None:
    broken(shell, "lose paris-1 sql")
    result = shell("plan", str(SPECS))
    assert result.exit_code == 3, result.output
    assert "restore point 1 of" in result.output
    assert "No change: 1 thing waits for a person, see above;" in result.output
    applied = shell("apply", str(SPECS), "--yes")
    assert applied.exit_code == 3, applied.output


def test_a_plan_in_a_pipe_has_no_colours_and_no_trailing_blanks(shell: Shell) -> None:
    broken(shell)
    output = shell("plan", str(SPECS)).output
    assert "\x1b" not in output
    assert all(line == line.rstrip() for line in output.splitlines())


def test_plan_as_json_holds_what_the_text_shows(shell: Shell) -> None:
    broken(shell)
    result = shell("plan", str(SPECS), "--json")
    value = json.loads(result.output)
    assert (result.exit_code, value["exit"]) == (2, 2)
    assert [step["id"] for step in value["steps"]] == ["start:VirtualMachine/sql@paris-1"]


def test_a_silent_host_makes_the_plan_unknown_and_never_absent(shell: Shell) -> None:
    assert shell("plan", str(SPECS)).exit_code == 0
    assert shell.estate is not None
    shell.estate.world.node("paris-1").babbling = True
    result = shell("plan", str(SPECS))
    assert result.exit_code == 5
    assert "? Host/paris-1" in result.output
    assert "could not be seen, see above; all else is" in result.output


def test_a_saved_plan_is_applied_once_and_refused_when_the_facts_have_moved(
        shell: Shell, tmp_path: Path) -> None:
    broken(shell)
    saved = tmp_path / "one.plan"
    saved.touch(mode=0o644)
    assert shell("plan", str(SPECS), "--out", str(saved)).exit_code == 2
    assert saved.stat().st_mode & 0o077 == 0
    assert shell("apply", str(saved), "--yes").exit_code == 0
    again = shell("apply", str(saved), "--yes")
    assert again.exit_code == 3
    assert "is not what the plan was made from" in again.output


def test_a_saved_plan_is_refused_when_the_specs_have_moved(shell: Shell, tmp_path: Path) -> None:
    specs = copytree(SPECS, tmp_path / "specs")
    assert shell("plan", str(specs)).exit_code == 0
    assert shell.estate is not None
    shell.estate.command("kill paris-1 sql")
    saved = tmp_path / "one.plan"
    shell("plan", str(specs), "--out", str(saved))
    web = specs / "virtual_machine" / "web.yaml"
    web.write_text(web.read_text() + "\n# moved\n")
    result = shell("apply", str(saved), "--yes")
    assert result.exit_code == 3
    assert "the specs are at" in result.output


def test_a_saved_plan_does_what_it_showed_and_nothing_more(shell: Shell, tmp_path: Path) -> None:
    broken(shell)
    saved = tmp_path / "one.plan"
    shell("plan", str(SPECS), "--out", str(saved))
    assert shell.estate is not None
    shell.estate.command("kill milan-1 proxy" if "proxy" in shell.estate.world.node(
        "milan-1").domains else "kill milan-2 proxy")
    result = shell("apply", str(saved), "--yes")
    assert result.exit_code == 2
    assert "What is left:" in result.output
    assert "start proxy" in result.output


@pytest.mark.parametrize(("text", "status"), [("{}", 4), ('{"hotsitePlan": 99}', 4)])
def test_a_file_that_is_no_plan_is_refused_with_a_sentence(
        shell: Shell, tmp_path: Path, text: str, status: int) -> None:
    path = tmp_path / "bad.plan"
    path.write_text(text)
    result = shell("apply", str(path), "--yes")
    assert result.exit_code == status
    assert "hotsite plan --out" in result.output


def test_apply_asks_and_takes_only_yes_for_a_yes(
        shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(shell)
    assert shell("apply", str(SPECS)).exit_code == 3
    monkeypatch.setattr("controller.cli.apply.can_answer", lambda: True)
    refused = shell("apply", str(SPECS), typed="y\n")
    assert refused.exit_code == 2
    assert "Nothing was done." in refused.output
    assert shell("apply", str(SPECS), typed="yes\n").exit_code == 0


def test_a_yes_goes_beyond_the_autonomy_but_through_no_other_gate(
        tmp_path: Path) -> None:
    specs = copytree(SPECS, tmp_path / "specs")
    estate = next((specs / "estate").iterdir())
    estate.write_text(estate.read_text().replace("autonomy: restart", "autonomy: report"))
    shell = Shell(tmp_path / "state", converged)
    assert shell("plan", str(specs)).exit_code == 0
    assert shell.estate is not None
    shell.estate.command("kill paris-1 sql")
    planned = shell("plan", str(specs))
    assert planned.exit_code == 2
    assert "needs approval (autonomy)" in planned.output
    assert "action start:VirtualMachine/sql@paris-1" in planned.output
    assert shell("suspend", "VirtualMachine/sql", "--for", "1h", "--why", "ill").exit_code == 0
    held = shell("apply", str(specs), "--yes")
    assert held.exit_code == 3
    assert "is suspended by" in held.output
    assert shell("resume", "VirtualMachine/sql").exit_code == 0
    assert shell("apply", str(specs), "--yes").exit_code == 0


def test_apply_as_json_reports_what_was_done_and_what_is_left(shell: Shell) -> None:
    broken(shell)
    assert shell("apply", str(SPECS), "--json").exit_code == 3
    result = shell("apply", str(SPECS), "--json", "--yes")
    value = json.loads(result.output)
    assert (result.exit_code, value["exit"]) == (0, 0)
    assert [one["id"] for one in value["done"]] == ["start:VirtualMachine/sql@paris-1"]
    assert value["left"]["steps"] == []


def test_what_if_shows_where_vms_would_go_and_cannot_be_saved(
        shell: Shell, tmp_path: Path) -> None:
    result = shell("plan", str(SPECS), "--assume", "site=paris:down")
    assert "if paris is lost now, at milan" in result.output
    assert "from point 1 of" in result.output
    assert "This is a what-if" in result.output
    wrong = shell("plan", str(SPECS), "--assume", "site=rome:down")
    assert wrong.exit_code == 4
    assert "no site rome is declared" in wrong.output
    saved = shell("plan", str(SPECS), "--assume", "site=paris:down", "--out", str(tmp_path / "x"))
    assert saved.exit_code == 4


def test_what_if_lost_says_it_in_one_sentence_and_by_the_exit_status(shell: Shell) -> None:
    result = shell("plan", str(SPECS), "--assume", "site=paris:lost")
    assert "If paris is lost now: " in result.output
    value = json.loads(shell("plan", str(SPECS), "--assume", "site=paris:lost", "--json").output)
    outcomes = {one["outcome"] for lost in value["assumed"] for one in lost["hindered"]}
    expected = 5 if "unknown" in outcomes else 3 if "waits" in outcomes else 0
    assert (result.exit_code, value["exit"]) == (expected, expected)
    assert value["assumed"][0]["schedule"]["starts"] >= 1


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_broken_specs_end_with_4_and_every_problem(shell: Shell, tmp_path: Path,
                                                   verb: str) -> None:
    (tmp_path / "bad.yaml").write_text("kind: Nonsense\n---\nkind: Host\nmetadata: {name: A}\n")
    result = shell(verb, str(tmp_path))
    assert result.exit_code == 4
    assert "bad.yaml:1:" in result.output
    assert "Traceback" not in result.output


def test_get_shows_what_was_seen_with_its_age(shell: Shell) -> None:
    broken(shell)
    shell("apply", str(SPECS), "--yes")
    hosts = shell("get", "hosts")
    assert hosts.exit_code == 0
    assert hosts.output.split()[:3] == ["name", "cpus", "memory"]
    assert "paris-1" in hosts.output
    vm = json.loads(shell("get", "vm", "sql", "--json").output)
    assert [(row["host"], row["state"]) for row in vm] == [("paris-1", "running")]
    assert vm[0]["age_s"] >= 0
    assert shell("get", "pools").exit_code == 0
    assert shell("get", "ports", "up0").exit_code == 0
    assert shell("get", "switches").exit_code == 0
    assert shell("get", "vm", "nobody").exit_code == 1
    assert shell("get", "elephants").exit_code == 1


def test_events_and_explain_tell_what_was_done(shell: Shell) -> None:
    broken(shell)
    shell("apply", str(SPECS), "--yes")
    lines = shell("events", "--target", "VirtualMachine/sql").output.splitlines()
    assert len(lines) == 2
    assert "start VirtualMachine/sql on paris-1: started sql" in lines[1]
    row = json.loads(shell("events", "--json", "--limit", "1").output)
    assert (row["kind"], row["outcome"]) == ("outcome", "done")
    explained = shell("explain", "VirtualMachine/sql")
    assert explained.exit_code == 0
    assert "state running" in explained.output
    assert shell("explain", "VirtualMachine/nobody").exit_code == 1


@pytest.mark.parametrize("words", [
    ("status",), ("get", "hosts"), ("explain", "Host/paris-1"),
    ("approve", "start:VirtualMachine/sql@paris-1")])
def test_without_a_state_folder_the_sentence_says_what_to_do(
        tmp_path: Path, words: tuple[str, ...]) -> None:
    result = Shell(tmp_path / "nowhere", converged)(*words)
    assert result.exit_code == 5
    assert "start `hotsite run`" in result.output


def test_suspend_refuses_what_is_no_name_and_resume_what_is_not_suspended(shell: Shell) -> None:
    assert shell("suspend", "sql", "--for", "1h", "--why", "x").exit_code == 1
    assert shell("resume", "VirtualMachine/sql").exit_code == 1
    assert shell("suspend", "Host/paris-1", "--for", "soon", "--why", "x").exit_code != 0
    value = json.loads(shell("suspend", "Host/paris-1", "--for", "1h", "--why", "x", "--by", "ann",
                             "--json").output)
    assert value["by"] == "ann"
    assert "suspended Host/paris-1 by ann" in shell("status").output

"""Wrong usage is reported in the requested format, and never passes for an answer."""

import json
from pathlib import Path

import pytest

from tests.cli.shell import SPECS, Shell
from tests.cli.test_verbs import shell

__all__ = ["shell"]


@pytest.mark.parametrize("words", [("plan",), ("apply", "--yes"), ("validate",)])
def test_no_path_is_not_the_folder_in_which_one_stands(
        shell: Shell, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    monkeypatch.chdir(SPECS)
    for blank in ("", " "):
        result = shell(words[0], blank, *words[1:])
        assert result.exit_code == 4
        assert "is named" in result.stderr
    assert shell("validate", ".").exit_code == 0


@pytest.mark.parametrize("words", [("plan",), ("apply", "--yes"), ("validate",)])
def test_invalid_specs_are_json_where_json_was_asked_for(shell: Shell, tmp_path: Path,
                                                         words: tuple[str, ...]) -> None:
    (tmp_path / "a.yaml").write_text("kind: Sight\nmetadata: {name: s}\n")
    result = shell(*words, str(tmp_path), "--json")
    assert result.exit_code == 4
    told = json.loads(result.stdout)["problems"]
    assert any("unknown kind `Sight`" in problem for problem in told)


@pytest.mark.parametrize("words", [("status",), ("get", "hosts"), ("replica", "list"),
                                   ("explain", "Host/paris-1")])
def test_other_errors_are_json_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    from tests.cli.test_verbs import converged

    result = Shell(tmp_path / "nowhere", converged)(*words, "--json")
    assert result.exit_code == 5
    answer = json.loads(result.stdout)
    assert answer["exit"] == 5
    assert "there is no state folder" in answer["problems"][0]


def test_events_of_a_name_with_a_typing_error_are_not_none(shell: Shell) -> None:
    assert shell("apply", str(SPECS), "--yes").exit_code == 0
    with shell.manager(None).open_store() as store:
        store.note("suspended", "VirtualMachine/sql", "by ann", 1.0)
    assert shell("events", "--target", "VirtualMachine/sql").exit_code == 0
    result = shell("events", "--target", "VirtualMachine/sqll")
    assert result.exit_code == 1
    assert result.stderr == ("the journal has no line about VirtualMachine/sqll:"
                             " write `VirtualMachine/sql`\n")


def test_a_pause_that_no_loop_will_read_says_so(shell: Shell) -> None:
    assert shell("apply", str(SPECS), "--yes").exit_code == 0
    result = shell("suspend", "VirtualMachine/sql", "--for", "1h", "--why", "new disk")
    assert result.exit_code == 0
    assert f"no loop runs with the state folder {shell.state}" in result.stderr


def test_a_journal_that_was_damaged_is_told_by_who_goes_on_without_it(shell: Shell) -> None:
    shell.state.mkdir()
    (shell.state / "state.db").write_bytes(b"no database at all" * 999)
    result = shell("apply", str(SPECS), "--yes")
    assert "was damaged and is now state.db.damaged-1" in result.stderr
    assert "the estate is suspended" in result.stderr
    assert "was damaged" not in shell("apply", str(SPECS), "--yes").stderr

"""`simulate` on real specs: a table, who does not come back, and the exit status."""

import json
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.cli.test_verbs import converged

SPECS = Path(__file__).parents[2] / "examples" / "two-sites"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell whose state folder no loop has written to."""
    return Shell(tmp_path / "state", converged)


def test_it_shows_what_came_back_and_who_did_not(shell: Shell) -> None:
    well = shell("simulate", str(SPECS), "--place", "milan", "--what", "site=paris:lost@+1h")
    assert "Site/paris lost  1    1" in well.output
    assert "Every VM that was lost came back." in well.output
    assert well.exit_code == 0
    nobody = shell("simulate", str(SPECS), "--what", "site=paris:lost@+1h", "--json")
    value = json.loads(nobody.output)
    (happening,) = value["happenings"]
    assert (nobody.exit_code, value["exit"]) == (3, 3)
    assert list(happening["not_back"]) == happening["lost"]


def test_words_and_specs_that_are_wrong_end_with_4(shell: Shell, tmp_path: Path) -> None:
    wrong = shell("simulate", str(SPECS), "--what", "site=rome:lost@22:00")
    assert wrong.exit_code == 4
    assert "no site rome is declared: there are milan, paris" in wrong.output
    past = shell("simulate", str(SPECS), "--what", "site=paris:lost@2020-01-01T00:00:00Z")
    assert past.exit_code == 4
    assert "is over" in past.output
    (tmp_path / "bad.yaml").write_text("kind: Nonsense\n")
    assert shell("simulate", str(tmp_path)).exit_code == 4
    assert shell("simulate", str(SPECS), "--hours", "0").exit_code != 0

"""`hotsite fence`: asked again for what is well, refused where the BMC may be another's."""

from pathlib import Path

import pytest

from controller.model.condition import Condition, ConditionType, Status
from controller.providers.simulated.estate import SimulatedEstate
from tests.cli.shell import SPECS, Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell over a converged world that is there already."""
    shell = Shell(tmp_path / "state",
                  lambda desired, clock: SimulatedEstate(desired, converged=True, clock=clock))
    assert shell("fence", "paris-1", str(SPECS), "--dry-run").exit_code == 0
    return shell


def strike(shell: Shell, fault: str) -> None:
    """Break something."""
    assert shell.estate is not None
    shell.estate.command(fault)


def has_power(shell: Shell, host: str = "paris-1") -> bool:
    """Return whether a host has power."""
    assert shell.estate is not None
    return shell.estate.world.node(host).powered


def test_a_dry_run_says_what_would_end_and_does_nothing(shell: Shell) -> None:
    result = shell("fence", "paris-1", str(SPECS), "--dry-run")
    assert result.output.splitlines() == [
        "paris-1 answers, and runs mail, sql", "its BMC reads On",
        "its BMC would be told to cut the power of paris-1; nothing is done"]
    assert has_power(shell)


def test_a_host_that_is_well_is_named_again(shell: Shell) -> None:
    assert shell("fence", "paris-1", str(SPECS), typed="paris-2\n").exit_code == 1
    assert shell("fence", "paris-1", str(SPECS), "--name-again", "x").exit_code == 1
    assert has_power(shell)
    result = shell("fence", "paris-1", str(SPECS), "--why", "it burns", "--by", "alice",
                   typed="paris-1\n")
    assert result.exit_code == 0, result.output
    assert "cut the power of paris-1: its BMC reads Off twice, after " in result.output
    assert not has_power(shell)
    told = shell("events", "--target", "Host/paris-1").output
    assert "alice ordered it by hand: it burns" in told
    assert "cut the power of paris-1" in told


def test_a_silent_host_is_fenced_without_a_question(shell: Shell) -> None:
    strike(shell, "hang paris-1")
    result = shell("fence", "paris-1", str(SPECS))
    assert result.exit_code == 0, result.output
    assert "paris-1 does not answer" in result.output
    assert not has_power(shell)


@pytest.mark.parametrize(("dialect", "words"), [
    ("stranger", "its BMC is another machine's: the BMC tells the system UUID"),
    ("wrong-password", "it refuses the password"),
    ("no-forceoff", "its BMC offers no ForceOff"),
    ("null-state", "tells no power state"),
])
def test_a_bmc_that_cannot_be_used_cuts_nothing(dialect: str, words: str, shell: Shell) -> None:
    strike(shell, f"bmc paris-1 {dialect}")
    result = shell("fence", "paris-1", str(SPECS), "--name-again", "paris-1")
    assert result.exit_code == 3
    assert words in " ".join(result.output.split())
    assert has_power(shell)


def test_what_is_not_proven_off_is_a_failure(shell: Shell) -> None:
    strike(shell, "bmc paris-1 down")
    strike(shell, "hang paris-1")
    result = shell("fence", "paris-1", str(SPECS))
    assert result.exit_code == 1
    assert "paris-1 is not fenced: the BMC of paris-1 cannot be reached" in result.output


def test_a_host_without_a_bmc_and_an_unknown_one_are_refused(shell: Shell, tmp_path: Path) -> None:
    assert "there is no host paris-9" in shell("fence", "paris-9", str(SPECS)).output
    assert shell("fence", "paris-1").exit_code == 5


def test_what_refused_the_loop_is_not_tried_again(shell: Shell) -> None:
    with shell.manager(None).open_store() as store:
        at = shell.manager(None).clock()
        store.save_conditions((Condition("Host/paris-1", ConditionType.FENCEABLE, Status.FALSE,
                                         "Refused", "the password is refused"),), at)
        store.save_status({"at": at})
    result = shell("fence", "paris-1", str(SPECS), "--name-again", "paris-1")
    assert result.exit_code == 3
    assert "nothing is tried: the password is refused" in result.output
    assert has_power(shell)

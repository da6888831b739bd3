"""`hotsite lease`, and a standby without a lease."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from controller.cli.app import build
from controller.errors import Unavailable
from controller.model.desired import Desired
from controller.providers.simulated.estate import SimulatedEstate
from controller.reconcile.manager import Manager
from controller.store.lease import LeaseState
from tests.cli.shell import SPECS, Shell


class Asked(Manager):
    """A manager whose place of the lease answers as it is told."""

    said: LeaseState | None = None
    """None: it does not answer."""

    async def read_lease(self, desired: Desired) -> tuple[str, LeaseState] | None:
        """Answer."""
        if self.said is None:
            raise Unavailable("aws cannot be reached")
        return "witness aws", self.said


def ask(tmp_path: Path, said: LeaseState | None, *more: str) -> Result:
    """Ask who conducts."""
    def make(state: Path | None) -> Manager:
        manager = Asked(state or tmp_path)
        manager.said = said
        return manager
    return CliRunner().invoke(build(), ["lease", str(SPECS), *more], obj=make, prog_name="hotsite")


@pytest.mark.parametrize(("said", "words", "status"), [
    (LeaseState("paris/1", 4, False, 12.0, ""),
     "paris/1 conducts in term 4, by witness aws, for another 12s unless it renews", 0),
    (LeaseState("paris/1", 4, False, 0.0, ""),
     "nobody conducts, by witness aws; the last term was 4, of paris/1, and ran out", 1),
    (LeaseState("", 4, False, 0.0, ""), "nobody conducts, by witness aws; term 4 was given up", 1),
    (LeaseState("", 0, False, 0.0, ""), "nobody conducts, by witness aws, and never did", 1),
    (None, "aws cannot be reached", 5),
])
def test_who_conducts_is_told(tmp_path: Path, said: LeaseState | None, words: str,
                              status: int) -> None:
    result = ask(tmp_path, said)
    assert (result.output.strip(), result.exit_code) == (words, status)


def test_who_conducts_as_json(tmp_path: Path) -> None:
    result = ask(tmp_path, LeaseState("paris/1", 4, False, 12.0, ""), "--json")
    assert json.loads(result.output) == {
        "place": "witness aws", "holder": "paris/1", "term": 4, "left_s": 12.0}


def test_without_a_declared_lease_there_is_nobody_to_ask_and_no_standby(tmp_path: Path) -> None:
    shell = Shell(tmp_path, lambda desired, clock: SimulatedEstate(
        desired, converged=True, clock=clock))
    asked = shell("lease", str(SPECS))
    assert (asked.output.strip(), asked.exit_code) == (
        "no lease is declared: whoever runs conducts", 1)
    refused = shell("run", "--standby", str(SPECS))
    assert refused.exit_code == 4
    assert "add `failover.lease` to the Estate, or run without --standby" in refused.output

"""The verbs for the disaster: what may be ordered, how it is followed, and how that ends."""

from pathlib import Path
from typing import Any

import pytest

from controller.cli.takeover.order import ended, tell_phase
from controller.plan.survey.context import FailoverRequest
from controller.store.store import Store
from tests.cli.shell import SPECS, Shell
from tests.cli.test_verbs import converged


class Running:
    """A loop, as its heartbeat shows it."""

    def __init__(self, state: Path) -> None:
        """Keep the state folder."""
        self.state = state
        state.mkdir()

    def beat(self, at: float, *failovers: dict[str, Any], silent: tuple[str, ...] = ()) -> None:
        """Write that the loop runs on the lab's specs, and what it says."""
        with Store.open(self.state / "state.db") as store:
            store.save_status({
                "pid": 1, "at": at, "started_at": at, "stopped": False, "revision": "r1",
                "source": {"good": True, "sentence": "", "at": at, "where": str(SPECS)},
                "nodes": {host: {"state": "unknown" if host in silent else "known",
                                 "sentence": "", "since_at": at, "observed_at": at}
                          for host in ("paris-1", "paris-2", "milan-1", "milan-2")},
                "plan": {"steps": [], "remarks": [], "summary": "", "failovers": list(failovers)}})

    def orders(self) -> list[tuple[str, bool, bool]]:
        """Return what was ordered."""
        with Store.open(self.state / "state.db") as store:
            return [(one.target, one.planned, one.back) for one in store.failovers(0.0)]


def phase(name: str, **more: Any) -> dict[str, Any]:
    """Return where the failover of paris stands."""
    return {"scope": "Site/paris", "phase": name, "sentence": f"it is {name}", "waits_for": [],
            "waiting": [], "epoch": 1} | more


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell over a world as declared."""
    return Shell(tmp_path / "state", converged)


@pytest.fixture
def loop(shell: Shell) -> Running:
    """Return a loop that has just written its heartbeat."""
    running = Running(shell.state)
    running.beat(shell.manager(None).clock())
    return running


def test_without_a_loop_nothing_is_ordered(shell: Shell) -> None:
    shell.state.mkdir()

    result = shell("failover", "paris")

    assert result.exit_code == 5
    assert "it needs no state of the lost one" in result.output


@pytest.mark.parametrize("words", [
    ("failover", "pariss"), ("failback", "pariss", "--name-again", "pariss"),
    ("failover", "pariss", "--dry-run"), ("confirm-fenced", "paris-11", "--reason", "x")])
def test_a_name_is_judged_although_no_loop_runs(shell: Shell, loop: Running,
                                                words: tuple[str, ...]) -> None:
    loop.beat(shell.manager(None).clock() - 3600.0)
    result = shell(*words)
    assert result.exit_code == 1
    assert "did you mean paris" in result.output
    right = shell(*(word.replace("pariss", "paris").replace("paris-11", "paris-1")
                    for word in words))
    assert right.exit_code == 5
    assert "no loop runs" in right.output


@pytest.mark.parametrize(("word", "target"), [
    ("paris", "Site/paris"), ("paris-1", "Host/paris-1"), ("sql", "VirtualMachine/sql"),
    ("VirtualMachine/sql", "VirtualMachine/sql")])
def test_what_is_named_is_found_by_its_name_alone(shell: Shell, loop: Running, word: str,
                                                  target: str) -> None:
    assert shell("failover", word, "--no-wait").exit_code == 0
    assert loop.orders() == [(target, False, False)]


def test_what_is_not_declared_is_not_ordered(shell: Shell, loop: Running) -> None:
    result = shell("failover", "pariss")

    assert result.exit_code == 1
    assert "did you mean paris" in result.output
    assert loop.orders() == []


@pytest.mark.parametrize(("words", "back"), [(("failover", "paris", "--planned"), False),
                                             (("failback", "paris"), True)])
def test_what_is_well_is_moved_once_its_name_was_typed_again(
        shell: Shell, loop: Running, words: tuple[str, ...], back: bool) -> None:
    assert shell(*words, "--no-wait", "--name-again", "milan").exit_code == 1
    assert loop.orders() == []
    assert shell(*words, "--no-wait", typed="pari\n").exit_code == 1
    assert loop.orders() == []
    assert shell(*words, "--no-wait", "--name-again", "paris").exit_code == 0
    assert loop.orders() == [("Site/paris", True, back)]


def test_a_host_that_answers_is_not_off(shell: Shell, loop: Running) -> None:
    result = shell("confirm-fenced", "paris-1", "--reason", "pulled its cords")

    assert result.exit_code == 3
    loop.beat(shell.manager(None).clock(), silent=("paris-1",))
    assert shell("confirm-fenced", "paris-1", "--reason", "pulled its cords").exit_code == 0
    with Store.open(loop.state / "state.db") as store:
        (word,) = store.confirmations(0.0)
    assert (word.host, word.why) == ("paris-1", "pulled its cords")
    assert shell("confirm-fenced", "berlin-1", "--reason", "x").exit_code == 1


def request(*, planned: bool = False) -> FailoverRequest:
    """Return an order."""
    return FailoverRequest("Site/paris", "ann", "", 0.0, planned=planned)


@pytest.mark.parametrize(("name", "begun", "code"), [
    ("suspected", False, None), ("awaiting-human", False, 3), ("fencing", True, None),
    ("led-elsewhere", True, 0), ("led-elsewhere", False, None), ("split", True, 1)])
def test_a_failover_is_followed_until_it_needs_nobody_or_a_person(
        name: str, begun: bool, code: int | None) -> None:
    assert ended(phase(name), request(), begun=begun) == code


@pytest.mark.parametrize(("name", "begun", "code"), [
    ("protected-reversed", False, None), ("moving-back", True, None),
    ("protected-reversed", True, 1), ("calm", True, None)])
def test_a_move_is_followed_until_it_is_over(name: str, begun: bool, code: int | None) -> None:
    assert ended(phase(name), request(planned=True), begun=begun) == code


def test_an_order_that_is_refused_ends_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    refused = phase("calm", waits_for=["a person"], sentence="it answers")
    said: list[str] = []

    tell_phase(refused, said)
    tell_phase(refused, said)

    assert ended(refused, request(), begun=False) == 3
    assert capsys.readouterr().out == "Site/paris calm: it answers\n"


def test_the_status_shows_where_a_failover_stands_and_who_waits(shell: Shell,
                                                                loop: Running) -> None:
    loop.beat(shell.manager(None).clock(), phase(
        "fencing", waits_for=["milan-2"], waiting=["sql waits for a person"]))

    output = " ".join(shell("status").output.split())

    assert "failover Site/paris fencing: it is fencing; waits for milan-2" in output
    assert "sql waits for a person" in output


def test_a_dry_run_prints_who_comes_back_where_and_orders_nothing(shell: Shell,
                                                                  loop: Running) -> None:
    result = shell("failover", "paris", "--dry-run")

    assert result.exit_code == 0, result.output
    assert "paris-1 is proven off by its BMC, read Off twice" in result.output
    assert "wave 1" in result.output
    assert "sql on milan-" in result.output
    assert "from point 1" in result.output
    assert loop.orders() == []
    assert "no sound point 99" in shell("failover", "paris", "--dry-run", "--point", "99").output
    assert "mail" not in shell("failover", "sql", "--dry-run").output

"""Commands that carry a term, compared by a real shell with what a node was told."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from controller.errors import Refused, Unavailable
from controller.providers.termed import TermedTransport
from controller.store.lease import HIGHEST_TERM, Term
from controller.transport.base import Command, Reply
from tests.transport.local import LocalTransport
from tests.transport.sshd import Sshd
from tests.waiting import wait_until

T = TypeVar("T")
PARIS, MILAN = Term(7, "paris/1"), Term(8, "milan/1")
HELLO = Command(("echo", "hello"))


class Told:
    """A controller's terms, and who overtook it."""

    def __init__(self, term: Term | None) -> None:
        self.term = term
        self.by: list[tuple[str, Term]] = []

    def current(self) -> Term | None:
        """Return its term."""
        return self.term

    def overtaken(self, node: str, by: Term) -> None:
        """Note who did it."""
        self.by.append((node, by))


def controller(folder: Path, term: Term | None) -> tuple[TermedTransport, Told]:
    """Return one controller's transport to this machine."""
    local = LocalTransport()
    local.declare((Sshd(folder).endpoint("paris-1"), Sshd(folder).endpoint("paris-2")))
    transport, told = TermedTransport(local, str(folder / "node")), Told(term)
    transport.terms = told
    return transport, told


def run(folder: Path, term: Term | None, command: Command = HELLO) -> tuple[Reply, Told]:
    """Run a command as the controller that has a term."""
    async def body() -> Reply:
        return await transport.run("paris-1", command)
    transport, told = controller(folder, term)
    return ending(transport, body), told


def ending(transport: TermedTransport, body: Callable[[], Awaitable[T]]) -> T:
    """Run `body` and close the transport."""
    async def whole() -> T:
        try:
            return await body()
        finally:
            await transport.close()
    return asyncio.run(whole())


def test_a_command_runs_as_it_is_and_its_term_is_noted(tmp_path: Path) -> None:
    reply, told = run(tmp_path, PARIS, Command(
        ("sh", "-c", 'read line; echo "$line, $1"; echo oops >&2; exit 3', "x", "a 'b' $c"),
        input="typed\n"))
    assert reply == Reply(3, "typed, a 'b' $c\n", "oops\n")
    assert (tmp_path / "node/term").read_text() == "7 paris/1\n"
    assert told.by == []


def test_without_a_term_nothing_is_added_and_nothing_is_noted(tmp_path: Path) -> None:
    assert run(tmp_path, None)[0] == Reply(0, "hello\n", "")
    assert not (tmp_path / "node").exists()


def test_a_lower_term_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    run(tmp_path, MILAN)
    trace = tmp_path / "trace"
    transport, told = controller(tmp_path, PARIS)
    with pytest.raises(Refused, match="milan/1 conducts in term 8, and this one had term 7"):
        ending(transport, lambda: transport.run("paris-1", Command(("touch", str(trace)))))
    assert not trace.exists()
    assert told.by == [("paris-1", MILAN)]
    assert (tmp_path / "node/term").read_text() == "8 milan/1\n"


def test_the_same_term_of_another_holder_is_refused(tmp_path: Path) -> None:
    run(tmp_path, PARIS)
    transport, told = controller(tmp_path, Term(7, "other/1"))
    with pytest.raises(Refused, match="paris/1 conducts in term 7"):
        ending(transport, lambda: transport.run_on_new_connection("paris-1", HELLO))
    assert told.by == [("paris-1", PARIS)]


def test_a_higher_term_is_noted_and_terms_of_any_length_are_numbers(tmp_path: Path) -> None:
    for number in (9, 10, 100, HIGHEST_TERM):
        assert run(tmp_path, Term(number, "paris/1"))[0].stdout == "hello\n"
        assert (tmp_path / "node/term").read_text() == f"{number} paris/1\n"
    with pytest.raises(Refused):
        run(tmp_path, Term(99, "paris/1"))


@pytest.mark.parametrize("text", ["", "\n", "seven paris\n", "-7 paris\n", "7\n", "07 paris\n",
                                  "7 \n", "99999999999999999999 paris\n", "$(id) x\n", "7x y\n"])
def test_a_file_that_cannot_be_understood_refuses_everything(tmp_path: Path, text: str) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node/term").write_text(text)
    with pytest.raises(Unavailable, match="its file .* cannot be understood"):
        run(tmp_path, PARIS)
    assert (tmp_path / "node/term").read_text() == text


def test_a_node_that_cannot_note_a_term_does_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("a file where a folder should be")
    with pytest.raises(Unavailable, match="it has no folder"):
        run(tmp_path, PARIS)


def test_a_disk_that_takes_no_new_term_still_lets_the_old_one_work(tmp_path: Path) -> None:
    run(tmp_path, PARIS)
    (tmp_path / "node/term.part").mkdir()
    with pytest.raises(Unavailable, match="its disk took no term"):
        run(tmp_path, MILAN)
    assert run(tmp_path, PARIS)[0].stdout == "hello\n"


def test_a_program_that_is_missing_and_one_that_was_killed_end_as_ever(tmp_path: Path) -> None:
    assert run(tmp_path, PARIS, Command(("no-such-program",)))[0].exit_status == 127
    assert run(tmp_path, PARIS, Command(("sh", "-c", "kill -9 $$")))[0].exit_status == 137


def test_an_exit_status_of_the_program_s_own_is_no_refusal(tmp_path: Path) -> None:
    reply, told = run(tmp_path, PARIS, Command(("sh", "-c", "echo no >&2; exit 76")))
    assert (reply, told.by) == (Reply(76, "", "no\n"), [])


def test_a_new_term_waits_for_what_runs_under_the_old_one(tmp_path: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    old, _ = controller(tmp_path, PARIS)

    async def body() -> str:
        slow = asyncio.create_task(old.run("paris-1", Command(
            ("sh", "-c", f"touch {begun}; sleep 1; touch {ended}"))))
        await asyncio.to_thread(wait_until, begun.exists)
        new, _ = controller(tmp_path, MILAN)
        reply = await new.run("paris-1", Command(("sh", "-c", f"ls {ended}")))
        await new.close()
        await slow
        return reply.stdout
    assert ending(old, body) == f"{ended}\n"


def test_what_runs_for_long_does_not_keep_the_successor_away(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    old, _ = controller(tmp_path, PARIS)

    async def body() -> float:
        slow = asyncio.create_task(old.run("paris-1", Command(
            ("sh", "-c", f"touch {begun}; sleep 60"))))
        await asyncio.to_thread(wait_until, begun.exists)
        new, _ = controller(tmp_path, MILAN)
        at = time.monotonic()
        assert (await new.run("paris-1", HELLO)).stdout == "hello\n"
        await new.close()
        slow.cancel()
        return time.monotonic() - at
    assert ending(old, body) < 30


def test_what_a_command_leaves_in_the_background_holds_nothing(tmp_path: Path) -> None:
    pid = int(run(tmp_path, PARIS, Command(
        ("sh", "-c", "sleep 300 </dev/null >/dev/null 2>&1 & echo $!")))[0].stdout)
    held = subprocess.run(["flock", "-n", "-x", str(tmp_path / "node/term.running"), "true"])
    subprocess.run(["kill", str(pid)])
    assert held.returncode == 0


def test_many_at_once_of_three_terms_never_run_in_the_wrong_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    terms = [Term(number, f"c/{number}") for number in (1, 2, 3)]

    async def one(term: Term) -> None:
        transport, _ = controller(tmp_path, term)
        for _ in range(6):
            try:
                await transport.run("paris-1", Command(
                    ("sh", "-c", f"echo b{term.number} >>{log}; sleep 0.05;"
                     f" echo e{term.number} >>{log}")))
            except Refused:
                break
        await transport.close()

    async def whole() -> None:
        await asyncio.gather(*(one(term) for term in terms for _ in range(2)))
    asyncio.run(whole())
    lines = log.read_text().split()
    last = {term.number: max((at for at, line in enumerate(lines) if line[1:] == str(term.number)),
                             default=-1) for term in terms}
    first = {term.number: min((at for at, line in enumerate(lines)
                               if line[1:] == str(term.number)), default=10**6) for term in terms}
    assert last[1] < first[2] or first[2] == 10**6 or last[1] == -1
    assert last[2] < first[3] or last[2] == -1


def test_a_conversation_is_compared_at_its_begin(tmp_path: Path) -> None:
    async def talk(transport: TermedTransport) -> str | None:
        async with transport.converse("paris-1", Command(
                ("sh", "-c", 'read line; echo "$line in $HOTSITE_TERM"'), "begun\n")) as talking:
            line = await talking.receive()
            await talking.outcome(20)
            return line
    transport, _ = controller(tmp_path, PARIS)
    assert ending(transport, lambda: talk(transport)) == (
        f"begun in 7 paris/1 {tmp_path / 'node'}")
    run(tmp_path, MILAN)
    later, told = controller(tmp_path, PARIS)
    with pytest.raises(Refused, match="milan/1 conducts"):
        ending(later, lambda: talk(later))
    assert told.by == [("paris-1", MILAN)]


def test_a_relay_is_compared_at_both_ends(tmp_path: Path) -> None:
    async def body(transport: TermedTransport) -> tuple[Reply, Reply]:
        return await transport.relay(("paris-1", HELLO), ("paris-2", Command(("cat",))))
    transport, _ = controller(tmp_path, PARIS)
    assert ending(transport, lambda: body(transport))[1].stdout == "hello\n"
    run(tmp_path, MILAN)
    later, told = controller(tmp_path, PARIS)
    with pytest.raises(Refused, match="milan/1 conducts"):
        ending(later, lambda: body(later))
    assert told.by


def test_a_new_term_is_told_to_every_node_and_the_highest_that_refuses_is_named(
        tmp_path: Path) -> None:
    transport, _ = controller(tmp_path, None)
    nodes = ("paris-1", "paris-2", "not-declared")
    assert ending(transport, lambda: transport.announce(nodes, PARIS, 20)) is None
    assert (tmp_path / "node/term").read_text() == "7 paris/1\n"
    run(tmp_path, MILAN)
    assert ending(transport, lambda: transport.announce(nodes, PARIS, 20)) == MILAN
    assert ending(transport, lambda: transport.announce((), PARIS, 20)) is None

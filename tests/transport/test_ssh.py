"""SSH when things go wrong: wrong keys, refused logins, silence, broken lines, garbage."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.transport import session, ssh
from controller.transport.base import Command, Endpoint, Reply
from controller.transport.ssh import SshTransport
from tests.transport.sshd import Sshd, make_key

TRUE = Command(("true",), timeout_s=10)
COUNT = """
import sys, os
for line in sys.stdin:
    sys.stdout.write(str(os.getpid()) + chr(10)); sys.stdout.flush()
"""
ARGV = """
import sys
for line in sys.stdin:
    sys.stdout.write(open("/proc/self/cmdline").read() + chr(10)); sys.stdout.flush()
"""


@asynccontextmanager
async def connected(endpoint: Endpoint, connect_s: float = 10.0) -> AsyncIterator[SshTransport]:
    """Give a transport that knows one node, and close it."""
    transport = SshTransport(connect_s=connect_s)
    transport.declare((endpoint,))
    try:
        yield transport
    finally:
        await transport.close()


def run_true(endpoint: Endpoint, connect_s: float = 10.0) -> Reply:
    """Run `true` over a fresh transport."""
    async def body() -> Reply:
        async with connected(endpoint, connect_s) as transport:
            return await transport.run(endpoint.name, TRUE)
    return asyncio.run(body())


def test_another_host_key_than_the_declared_one_is_refused(sshd: Sshd) -> None:
    sshd.trust(make_key(sshd.folder / "other_key"))
    with pytest.raises(Refused, match=f"the host key that paris-1 shows at .* {sshd.known_hosts}"):
        run_true(sshd.endpoint())


def test_a_host_without_a_declared_key_is_never_trusted(sshd: Sshd) -> None:
    sshd.known_hosts.write_text("")
    with pytest.raises(Refused, match="nothing was sent"):
        run_true(sshd.endpoint())
    assert sshd.known_hosts.read_text() == ""


def test_a_missing_file_of_host_keys_is_refused(sshd: Sshd) -> None:
    sshd.known_hosts.unlink()
    with pytest.raises(Refused, match="without it no host is talked to"):
        run_true(sshd.endpoint())


def test_host_keys_that_were_mended_count_at_once(sshd: Sshd) -> None:
    async def body() -> Reply:
        async with connected(sshd.endpoint()) as transport:
            good = sshd.known_hosts.read_text()
            sshd.known_hosts.write_text("")
            with pytest.raises(Refused):
                await transport.run("paris-1", TRUE)
            sshd.known_hosts.write_text(good)
            os.utime(sshd.known_hosts, (1, 1))
            return await transport.run("paris-1", TRUE)
    assert asyncio.run(body()).exit_status == 0


def test_a_refused_login_is_refused_with_the_key_named(sshd: Sshd) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(Refused, match=f"refused the login of .* with the key {sshd.key_file}"):
        run_true(sshd.endpoint())


def test_the_agents_keys_are_never_tried(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(sshd.folder / "agent"))
        agent.listen()
        agent.setblocking(False)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(sshd.folder / "agent"))
        with pytest.raises(Refused):
            run_true(sshd.endpoint())
        with pytest.raises(BlockingIOError):
            agent.accept()


def test_a_key_file_that_others_can_read_is_refused(sshd: Sshd) -> None:
    sshd.key_file.chmod(0o644)
    with pytest.raises(Refused, match=f"run chmod 600 {sshd.key_file}"):
        run_true(sshd.endpoint())


def test_a_key_file_that_is_no_key_is_refused(sshd: Sshd) -> None:
    sshd.key_file.write_text("nonsense")
    with pytest.raises(Refused, match="must be a private key without a passphrase"):
        run_true(sshd.endpoint())


def test_a_closed_port_is_unavailable(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(Unavailable, match=r"paris-1 at .* cannot be reached"):
        run_true(sshd.endpoint())


async def _serve(sshd: Sshd, speak: Callable[[asyncio.StreamReader, asyncio.StreamWriter],
                                             Awaitable[None]]) -> asyncio.Server:
    """Answer at the sshd's port with something else."""
    sshd.stop()
    return await asyncio.start_server(speak, sshd.address, sshd.port)


@pytest.mark.parametrize(("banner", "sentence"), [
    (b"", r"did not answer to a login within 0.3 s"),
    (b"SSH-2.0-silent\r\n", r"did not answer to a login within 0.3 s"),
    (b"HTTP/1.1 400 Bad Request\r\n" * 2000, "broke off the login|within 0.3 s"),
    (b"SSH-2.0-x\r\n" + bytes(range(256)) * 300, "broke off the login|within 0.3 s"),
    (b"SSH-1.5-old\r\n", "broke off the login"),
])
def test_what_does_not_speak_ssh_is_unavailable_in_time(
        sshd: Sshd, banner: bytes, sentence: str) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        await reader.read()
        writer.close()

    async def body() -> None:
        async with await _serve(sshd, speak), connected(sshd.endpoint(), 0.3) as transport:
            await transport.run("paris-1", TRUE)

    with pytest.raises(Unavailable, match=sentence):
        asyncio.run(body())


def test_all_who_wait_for_a_dead_host_wait_for_one_login(sshd: Sshd) -> None:
    logins = 0

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal logins
        logins += 1
        await reader.read()
        writer.close()

    async def body() -> list[Reply | BaseException]:
        async with await _serve(sshd, speak), connected(sshd.endpoint(), 0.3) as transport:
            return await asyncio.gather(*(transport.run("paris-1", TRUE) for _ in range(10)),
                                        return_exceptions=True)

    assert {type(outcome) for outcome in asyncio.run(body())} == {Unavailable}
    assert logins == 1


def test_a_line_that_breaks_under_a_change_has_an_unknown_outcome_and_is_not_retried(
        sshd: Sshd, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = Command(("sh", "-c", 'echo run >>"$1"; sleep 60', "sh", str(mark)))

    async def body() -> None:
        async with connected(sshd.endpoint()) as transport:
            running = asyncio.create_task(transport.run("paris-1", command))
            while not mark.exists():
                await asyncio.sleep(0.01)
            sshd.break_connections()
            await running

    with pytest.raises(OutcomeUnknown, match="the connection to paris-1 broke while sh was"):
        asyncio.run(body())
    assert mark.read_text() == "run\n"


def test_a_question_whose_line_broke_is_asked_again_over_a_new_connection(sshd: Sshd) -> None:
    async def body() -> tuple[str, str]:
        async with connected(sshd.endpoint()) as transport:
            first = await transport.ask("paris-1", COUNT, "", 10)
            sshd.break_connections()
            return first, await transport.ask("paris-1", COUNT, "", 10)

    first, second = asyncio.run(body())
    assert first != second


def test_one_connection_serves_all_commands_and_a_new_one_is_another(sshd: Sshd) -> None:
    async def body() -> tuple[int, int]:
        async with connected(sshd.endpoint()) as transport:
            await asyncio.gather(*(transport.run("paris-1", TRUE) for _ in range(5)))
            one = len(sshd.children())
            hold = Command(("sh", "-c", "echo; read x"), timeout_s=10)
            held = asyncio.create_task(transport.run_on_new_connection("paris-1", hold))
            while len(sshd.children()) == one and not held.done():
                await asyncio.sleep(0.01)
            two = len(sshd.children())
            await held
            return one, two

    assert asyncio.run(body()) == (1, 2)


def test_a_host_that_hangs_is_noticed_and_its_connection_given_up(sshd: Sshd) -> None:
    async def body() -> None:
        transport = SshTransport(connect_s=0.5, keepalive_s=0.1)
        transport.declare((sshd.endpoint(),))
        assert (await transport.run("paris-1", TRUE)).exit_status == 0
        assert sshd.process is not None
        stopped = [sshd.process.pid, *sshd.children()]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises((OutcomeUnknown, Unavailable)):
                await transport.run("paris-1", Command(("true",), timeout_s=0.2))
            while True:
                try:
                    await transport.run("paris-1", Command(("true",), timeout_s=0.2))
                except Unavailable as error:
                    if "did not answer to a login" in str(error):
                        break
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        assert (await transport.run("paris-1", TRUE)).exit_status == 0
        await transport.close()

    asyncio.run(body())


def test_a_changed_endpoint_drops_the_old_connection(sshd: Sshd) -> None:
    async def body() -> None:
        async with connected(sshd.endpoint()) as transport:
            await transport.run("paris-1", TRUE)
            transport.declare(())
            with pytest.raises(Refused, match="not a declared"):
                await transport.run("paris-1", TRUE)
            while sshd.children():
                await asyncio.sleep(0.01)

    asyncio.run(body())


def test_nothing_of_the_questions_or_the_program_is_in_argv(sshd: Sshd) -> None:
    async def body() -> str:
        async with connected(sshd.endpoint()) as transport:
            return await transport.ask("paris-1", ARGV, "secret-word", 10)

    seen = asyncio.run(body())
    assert "secret-word" not in seen
    assert "/proc/self" not in seen


def allow(sshd: Sshd, sessions: int) -> None:
    """Let sshd open so many sessions on one connection."""
    config = sshd.folder / "sshd_config"
    config.write_text(config.read_text().replace("MaxSessions 100", f"MaxSessions {sessions}"))
    sshd.stop()
    sshd.start()


@pytest.mark.parametrize("sessions", [1, 2, 10])
def test_what_one_connection_has_no_room_for_goes_over_another(sshd: Sshd, sessions: int) -> None:
    """sshd lets 10 sessions be open on a connection unless somebody has set it otherwise."""
    allow(sshd, sessions)
    gathered = sshd.folder / "gathered"
    gathered.touch()
    together = ("sh", "-c", f"echo >>{gathered}; n=0; until [ $(wc -l <{gathered}) -ge 24 ]"
                " || [ $n -ge 1200 ]; do n=$((n + 1)); sleep 0.05; done")

    async def body() -> list[Reply]:
        async with connected(sshd.endpoint()) as transport:
            replies = await asyncio.gather(*(transport.run("paris-1", Command(
                together, timeout_s=60)) for _ in range(24)))
            again = await asyncio.gather(*(transport.run("paris-1", TRUE) for _ in range(24)))
            return [*replies, *again]

    assert [reply.exit_status for reply in asyncio.run(body())] == [0] * 48


def test_an_sshd_that_opens_no_session_is_named_with_what_to_set(sshd: Sshd) -> None:
    allow(sshd, 0)
    with pytest.raises(Unavailable, match="opens not a single session .* set MaxSessions"):
        run_true(sshd.endpoint())


@pytest.mark.parametrize(("said", "blamed"), [
    ("open failed", True), ("SSH connection closed", False)])
def test_a_connection_that_is_lost_is_not_taken_for_one_without_room(said: str, *,
                                                                     blamed: bool) -> None:
    error = asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, said)
    failure = ssh.session_failure("paris-1", session.Capture(), error, alone=True)
    assert ("MaxSessions" in str(failure)) == blamed
    assert said in str(failure)


class Noting(list[ssh.Connection]):
    """Connections, and how many there have ever been."""

    noted = 0

    def append(self, one: ssh.Connection) -> None:
        """Add one, and count it."""
        self.noted += 1
        super().append(one)


def test_a_further_connection_is_closed_when_nothing_runs_over_it(
        sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "IDLE_S", 0.01)

    async def body() -> None:
        async with connected(sshd.endpoint()) as transport:
            first = transport._connection_to("paris-1")
            first.max_sessions = 1
            first.extra = opened = Noting()
            await asyncio.gather(*(transport.run("paris-1", TRUE) for _ in range(3)))
            assert opened.noted     # it may be closed again by now
            while first.extra:
                await asyncio.sleep(0.01)
            assert (await transport.run("paris-1", TRUE)).exit_status == 0

    asyncio.run(body())

"""Ways in that are not one key and one address: jump hosts, agents, certificates of both ends."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import ActionError, Refused
from controller.transport.base import Command, Endpoint, Hop
from controller.transport.keys import pinned_keys
from controller.transport.ssh import SshTransport
from tests.transport.sshd import PROGRAM, Sshd, make_key, public

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="openssh-server is not installed")


def log_in(endpoint: Endpoint) -> str:
    """Return what a command says there."""
    async def body() -> str:
        transport = SshTransport()
        transport.declare((endpoint,))
        try:
            return (await transport.run(endpoint.name, Command(("echo", "in")))).stdout
        finally:
            await transport.close()
    return asyncio.run(body())


def refusal(endpoint: Endpoint) -> tuple[type[ActionError], str]:
    """Return how a login fails."""
    with pytest.raises(ActionError) as caught:
        log_in(endpoint)
    return type(caught.value), str(caught.value)


@pytest.fixture
def jump(tmp_path: Path, sshd: Sshd) -> Iterator[Sshd]:
    """A second sshd, which takes the same key."""
    one = Sshd(tmp_path / "jump")
    one.prepare()
    (one.folder / "authorized_keys").write_text(public(sshd.key_file) + "\n")
    one.start()
    yield one
    one.stop()


def behind(sshd: Sshd, *hops: Sshd, known: bool = True) -> Endpoint:
    """Return the way to `sshd` over others."""
    one = sshd.endpoint()
    if known:
        Path(one.known_hosts).write_text("".join(
            each.known_hosts.read_text() for each in (sshd, *hops)))
    return replace(one, jump=tuple(Hop(hop.address, hop.port, one.user) for hop in hops))


def test_a_node_is_reached_through_the_machine_before_it(sshd: Sshd, jump: Sshd) -> None:
    held: list[int] = []

    async def body() -> str:
        transport = SshTransport()
        transport.declare((behind(sshd, jump),))
        try:
            replies = [await transport.run("paris-1", Command(("echo", "in"))) for _ in range(3)]
            held.append(len(jump.children()))
            return "".join(reply.stdout for reply in replies)
        finally:
            await transport.close()
    assert asyncio.run(body()) == "in\nin\nin\n"
    assert held == [1]


def test_the_host_key_of_the_machine_on_the_way_is_checked_too(sshd: Sshd, jump: Sshd) -> None:
    kind, said = refusal(behind(sshd, jump, known=False))
    assert kind is Refused
    assert f"127.0.0.1 (on the way to paris-1) shows at 127.0.0.1:{jump.port}" in said
    assert "nothing was sent" in said


def test_a_machine_on_the_way_that_passes_nothing_on_is_named(sshd: Sshd, jump: Sshd) -> None:
    jump.stop()
    config = jump.folder / "sshd_config"
    config.write_text(config.read_text() + "AllowTcpForwarding no\n")
    jump.start()
    _, said = refusal(behind(sshd, jump))
    assert "cannot be reached from the machine before it" in said
    assert "AllowTcpForwarding" in said


@pytest.fixture
def agent(tmp_path: Path, sshd: Sshd) -> Iterator[Path]:
    """An ssh-agent that alone has the key; before it, it offers seven that fit nowhere."""
    path = tmp_path / "agent"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert running.poll() is None
    environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
    for key in (*(make_key(tmp_path / f"other-{at}") for at in range(7)), sshd.key_file):
        subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True)
    sshd.key_file.unlink()
    yield path
    running.kill()
    running.wait()


def test_a_key_that_only_an_agent_holds_is_named_by_its_public_half(sshd: Sshd, agent: Path
                                                                     ) -> None:
    endpoint = replace(sshd.endpoint(), agent=str(agent), key_file=f"{sshd.key_file}.pub")
    assert log_in(endpoint) == "in\n"
    _, said = refusal(replace(endpoint, key_file=""))     # sshd breaks off after six
    assert str(agent) in said or "broke off the login" in said


def test_an_agent_that_does_not_answer_or_holds_nothing_is_named(sshd: Sshd, tmp_path: Path,
                                                                 agent: Path) -> None:
    kind, said = refusal(replace(sshd.endpoint(), agent=str(tmp_path / "none"), key_file=""))
    assert (kind, "cannot be asked" in said) == (Refused, True)
    stranger = make_key(tmp_path / "stranger")
    kind, said = refusal(replace(sshd.endpoint(), agent=str(agent), key_file=f"{stranger}.pub"))
    assert (kind, "holds no key that may be used for paris-1" in said) == (Refused, True)


def test_no_agent_of_the_environment_is_asked(sshd: Sshd, agent: Path,
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
    key = make_key(sshd.folder / "stranger")
    kind, said = refusal(replace(sshd.endpoint(), key_file=str(key)))
    assert (kind, f"with the key {key};" in said) == (Refused, True)


@pytest.fixture
def authority(tmp_path: Path, sshd: Sshd) -> Path:
    """An authority of both ends: sshd trusts it for accounts, and shows its certificate."""
    key = make_key(tmp_path / "authority")
    user = sshd.endpoint().user
    for words in (("-n", user, str(sshd.key_file.with_suffix(".pub"))),
                  ("-h", "-n", "127.0.0.1", str(sshd.folder / "host_key.pub"))):
        subprocess.run(["ssh-keygen", "-q", "-s", str(key), "-I", "ours", *words], check=True)
    sshd.stop()
    (sshd.folder / "authorized_keys").write_text("")
    config = sshd.folder / "sshd_config"
    config.write_text(config.read_text() + f"TrustedUserCAKeys {key}.pub\n"
                      f"HostCertificate {sshd.folder}/host_key-cert.pub\n")
    sshd.known_hosts.write_text(f"@cert-authority [127.0.0.1]:{sshd.port} {public(key)}\n")
    sshd.start()
    return key


def test_certificates_of_both_ends_take_the_place_of_keys(sshd: Sshd, authority: Path) -> None:
    endpoint = replace(sshd.endpoint(), certificate_file=f"{sshd.key_file}-cert.pub")
    assert log_in(endpoint) == "in\n"
    assert pinned_keys(endpoint) == (f"@cert-authority {public(authority)}",)
    kind, said = refusal(sshd.endpoint())
    assert (kind, "refused the login" in said) == (Refused, True)
    kind, said = refusal(replace(endpoint, certificate_file=str(sshd.folder / "none")))
    assert (kind, "certificate" in said) == (Refused, True)


def test_a_host_certificate_of_another_authority_is_refused(sshd: Sshd, authority: Path,
                                                            tmp_path: Path) -> None:
    other = make_key(tmp_path / "other-authority")
    sshd.known_hosts.write_text(f"@cert-authority [127.0.0.1]:{sshd.port} {public(other)}\n")
    kind, said = refusal(replace(sshd.endpoint(), certificate_file=f"{sshd.key_file}-cert.pub"))
    assert (kind, "host key" in said) == (Refused, True)

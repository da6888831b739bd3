"""A copy from host to host where neither lets root in: the account's key, sudo, and one command."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import pytest

from controller.providers.node import Node
from controller.replication.mover import Mover
from controller.replication.ssh_route import Addresses, KeySource, open_route
from controller.transport.base import Command, Transport
from controller.transport.keys import one_time_key, pinned_keys
from controller.transport.ssh import SshTransport
from tests.transport.accounts.conftest import SHELLS
from tests.transport.accounts.machine import Machine, obstacle

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "it can be")
LOOPBACK = Addresses("127.0.0.1", "127.0.0.1")
ROOT = "/run/it's $HOME/replicas"


def send(folder: Path, way: dict[str, Any], text: bytes) -> "subprocess.CompletedProcess[bytes]":
    """Reach the target as the source's mover does, and send it something."""
    argv = list(way["argv"])
    for name, content in way["files"].items():
        path = folder / name
        path.write_text(content)
        path.chmod(0o600)
        argv = [word.replace(f"{{{name}}}", str(path)) for word in argv]
    return subprocess.run([*argv[:-1], "sh -c 'id; reboot'"], input=text, capture_output=True,
                          check=False, timeout=120)


async def keys_of(transport: Transport, user: str) -> tuple[str, str]:
    """Return who owns the account's file of keys, and what is in force in it."""
    path = f"/home/{user}/.ssh/authorized_keys"
    owner = await transport.run("paris-1", Command(("stat", "-c", "%U %a", path)))
    lines = await transport.run("paris-1", Command(("grep", "-v", "^#", path)))
    return owner.stdout.strip(), lines.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_the_one_time_key_reaches_the_receiver_and_nothing_else(
        machine: Machine, tmp_path: Path, shell: str) -> None:
    user = f"ann-{shell}"
    endpoint = machine.endpoint(user)

    async def body() -> None:
        transport = SshTransport()
        transport.declare((endpoint,))
        try:
            mover = Mover(Node(transport, "paris-1"))
            before = await keys_of(transport, user)
            async with (mover.session("no copy was made") as target,
                        open_route(target, endpoint, LOOPBACK, ROOT,
                                   KeySource(one_time_key, pinned_keys), 60.0) as way):
                assert "hotsite-transfer-" in (await keys_of(transport, user))[1]
                done = await asyncio.to_thread(send, tmp_path, way, b"no stream")
            assert b'{"ready": true}' in done.stdout.splitlines(), done
            assert b"uid=" not in done.stdout
            assert done.returncode != 0
            assert b'"sentence"' in done.stderr.splitlines()[-1], done
            after = await keys_of(transport, user)
            assert (after[0], after[1]) == (f"{user} 600", before[1])
        finally:
            await transport.close()
    asyncio.run(body())


def test_an_account_without_a_file_of_keys_gets_its_own(machine: Machine, tmp_path: Path) -> None:
    endpoint = machine.endpoint("ann")

    async def body() -> str:
        transport = SshTransport()
        transport.declare((endpoint,))
        try:
            await transport.run("paris-1", Command(("mv", "/home/ann/.ssh", "/home/ann/aside")))
            mover = Mover(Node(transport, "paris-1"))
            async with (mover.session("no copy was made") as target,
                        open_route(target, endpoint, LOOPBACK, ROOT,
                                   KeySource(one_time_key, pinned_keys), 60.0) as way):
                done = await asyncio.to_thread(send, tmp_path, way, b"")
            assert b'{"ready": true}' in done.stdout.splitlines(), done
            return (await transport.run("paris-1", Command((
                "stat", "-c", "%U %a", "/home/ann/.ssh", "/home/ann/.ssh/authorized_keys")))).stdout
        finally:
            await transport.run("paris-1", Command((
                "sh", "-c", "rm -rf /home/ann/.ssh && mv /home/ann/aside /home/ann/.ssh")))
            await transport.close()
    assert asyncio.run(body()) == "ann 700\nann 600\n"

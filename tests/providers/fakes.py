"""Transports for tests of hands: one that follows a script, and one that runs on this machine."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from controller.errors import ActionError
from controller.transport.base import Command, Endpoint, Reply, SideChannel


def said(stdout: str = "") -> Reply:
    """Return the reply of a program that ended well."""
    return Reply(0, stdout, "")


def failed(stderr: str, status: int = 1) -> Reply:
    """Return the reply of a program that failed."""
    return Reply(status, "", stderr)


class Scripted:
    """Answers commands in the order of its script; each entry names words its command must have."""

    def __init__(self, *script: tuple[str, Reply | ActionError]) -> None:
        self.script = list(script)
        self.commands: list[tuple[str, Command]] = []

    def declare(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Take no notice: every node is reachable."""

    async def run(self, node: str, command: Command) -> Reply:
        """Return or raise what the script says next."""
        words = f"{node}: {' '.join(command.argv)}"
        assert self.script, f"the script has no answer left for {words}"
        expected, outcome = self.script.pop(0)
        assert all(word in words for word in expected.split()), f"{expected!r} is not {words!r}"
        self.commands.append((node, command))
        if isinstance(outcome, ActionError):
            raise outcome
        return outcome

    async def relay(self, source: tuple[str, Command], sink: tuple[str, Command],
                    channel: SideChannel | None = None) -> tuple[Reply, Reply]:
        """Run the one, and the other on what it printed."""
        sent = await self.run(*source)
        return sent, await self.run(sink[0], replace(sink[1], input=sent.stdout))

    async def run_on_new_connection(self, node: str, command: Command) -> Reply:
        """Return or raise what the script says next."""
        return await self.run(node, command)

    async def lines(self, node: str, command: Command) -> AsyncIterator[str]:
        """Say nothing."""
        nothing: tuple[str, ...] = ()
        for line in nothing:
            yield line

    async def ask(self, node: str, program: str, question: str, timeout_s: float) -> str:
        """Refuse: hands ask nothing."""
        raise AssertionError("hands ask nothing")

    async def close(self) -> None:
        """Do nothing."""

    @property
    def inputs(self) -> list[str]:
        """Return what was fed to the commands, in their order, where anything was."""
        return [command.input for _, command in self.commands if command.input]


class Local(Scripted):
    """Runs commands on this very machine, in an environment of the test's."""

    def __init__(self, environment: dict[str, str]) -> None:
        super().__init__()
        self.environment = environment

    async def run(self, node: str, command: Command) -> Reply:
        """Run one command here."""
        process = await asyncio.create_subprocess_exec(
            *command.argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=self.environment)
        out, err = await asyncio.wait_for(process.communicate(command.input.encode()),
                                          command.timeout_s)
        self.commands.append((node, command))
        return Reply(process.returncode or 0, out.decode(), err.decode())

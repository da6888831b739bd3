"""A node as hands use it: run a program there, with plain arguments and never a shell string."""

from dataclasses import dataclass

from controller.errors import Refused
from controller.transport.base import Command, Reply, Transport

NOT_FOUND = 127


def plain_command(*argv: str, text: str = "", timeout_s: float = 30.0) -> Command:
    """Return a command whose messages are in English, so that they can be parsed."""
    return Command(("env", "LC_ALL=C", *argv), input=text, timeout_s=timeout_s)


def script_command(script: str, *words: str, text: str = "", timeout_s: float = 30.0) -> Command:
    """Return a command that runs a constant shell script; `words` are its `$1`, `$2`, …"""
    return plain_command("sh", "-c", script, "sh", *words, text=text, timeout_s=timeout_s)


@dataclass(frozen=True, slots=True)
class Node:
    """A node's name, and the transport that reaches it."""

    transport: Transport
    name: str

    async def run(self, command: Command) -> Reply:
        """Run a command and return its reply, also when the program itself fails.

        Errors: Refused when the program is not installed; else as the transport's.
        """
        reply = await self.transport.run(self.name, command)
        if reply.exit_status == NOT_FOUND:
            raise Refused(f"{self.name} has no program {command.argv[2]}: install it there")
        return reply


def safe_word(word: str, what: str) -> str:
    """Return `word`, if no program can take it for an option.

    Errors: Refused.
    """
    if word.startswith("-") or not word or "\n" in word or "\0" in word:
        raise Refused(f"{word!r} cannot be the name of a {what}: rename it")
    return word

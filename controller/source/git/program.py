"""The `git` program, run with settings of its own alone: no prompts, hooks or filters, and no
configuration of the user or the system.
"""

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from controller.errors import SourceUnavailable
from controller.source.git.address import GitAddress

ANSWER_S: Final = 60.0
FROM_HERE: Final = {"GIT_ALLOW_PROTOCOL": "file"}
PASSED_ON: Final = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR")
SSH: Final = ("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes",
              "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=10",
              "-o", "ForwardAgent=no", "-o", "ClearAllForwardings=yes")
SETTINGS: Final = """\
[core]
\thooksPath = /dev/null
\tfsmonitor = false
\taskPass = /bin/false
[protocol]
\tallow = never
[protocol "{scheme}"]
\tallow = always
[transfer]
\tfsckObjects = true
\tbundleURI = false
[gc]
\tautoDetach = false
[maintenance]
\tautoDetach = false
[safe]
\tdirectory = "{directory}"
"""


class GitFailed(SourceUnavailable):
    """Git failed; the message is its own."""


class GitProgram:
    """Runs git on one mirror, with settings that live beside it."""

    def __init__(self, folder: Path, address: GitAddress, known_hosts: str | None,
                 mirror: str = "mirror.git") -> None:
        self.mirror = folder / mirror
        self._settings = folder / "gitconfig"
        self._address = address
        self._known_hosts = known_hosts

    def beside(self, name: str) -> "GitProgram":
        """Return a GitProgram for another mirror in the same folder."""
        return GitProgram(self.mirror.parent, self._address, self._known_hosts, name)

    async def prepare(self) -> None:
        """Write the settings, and make the mirror if there is none."""
        path = unquote(urlsplit(self._address.url).path)
        quoted = path.replace("\\", "\\\\").replace('"', '\\"')
        self._settings.write_text(SETTINGS.format(scheme=self._address.scheme, directory=quoted))
        if not (self.mirror / "HEAD").exists():
            await self.run("init", "--quiet", "--bare", "--template=", str(self.mirror),
                           in_mirror=False)

    async def run(self, *argv: str, timeout_s: float | None = None, in_mirror: bool = True,
                  keep_open: tuple[int, ...] = (), from_here: bool = False) -> str:
        """Return what `git argv` prints.

        Shapes: `keep_open` are descriptors that git inherits; `from_here` lets it read a
        repository of this machine, whatever the address allows.
        Errors: GitFailed with git's own words, or when it takes too long.
        """
        limit_s = ANSWER_S if timeout_s is None else timeout_s
        async with self.process(*argv, in_mirror=in_mirror, keep_open=keep_open,
                                from_here=from_here) as process:
            try:
                async with asyncio.timeout(limit_s):
                    stdout, stderr = await process.communicate()
            except TimeoutError:
                raise GitFailed(f"no answer within {limit_s:g} s") from None
        if process.returncode:
            raise GitFailed(last_words(stderr.decode(errors="replace")))
        return stdout.decode(errors="surrogateescape")

    @asynccontextmanager
    async def process(self, *argv: str, in_mirror: bool = True, keep_open: tuple[int, ...] = (),
                      from_here: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run git while the context lasts, then kill it and everything that it started."""
        place = (f"--git-dir={self.mirror}",) if in_mirror else ()
        try:
            process = await asyncio.create_subprocess_exec(
                "git", *place, *argv, pass_fds=keep_open,
                env={**self._environment(os.environ), **(FROM_HERE if from_here else {})},
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, start_new_session=True)
        except FileNotFoundError:
            raise GitFailed("the program git is not installed") from None
        try:
            yield process
        finally:
            if process.returncode is None:
                _kill_group(process.pid)
                await process.communicate()

    def _environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """Return the whole environment of git and of the ssh that it starts."""
        known = ("-o", f"UserKnownHostsFile={self._known_hosts}") if self._known_hosts else ()
        return {
            **{name: outer[name] for name in PASSED_ON if name in outer},
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": str(self._settings),
            "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_ALLOW_PROTOCOL": self._address.scheme, "GIT_PROTOCOL_FROM_USER": "0",
            "GIT_SSH_COMMAND": shlex.join((*SSH, *known)), "GIT_SSH_VARIANT": "ssh",
            "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C",
        }


def last_words(stderr: str) -> str:
    """Return the complaint of git as one printable line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:"))]
    hints = [line for line in lines if "Host key verification failed" in line
             or "Permission denied" in line or "Could not resolve" in line
             or "Connection refused" in line]
    chosen = (hints or telling or lines or ["it said nothing"])[0]
    return "".join(c for c in chosen.removeprefix("fatal: ") if c.isprintable())[:300]


def printable(text: str) -> str:
    """Return text of a commit or a signature as one line, safe for a terminal."""
    return "".join(c for c in text.strip() if c.isprintable())[:120]


def _kill_group(pid: int) -> None:
    """Kill a process and everything it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

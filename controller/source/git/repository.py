"""Specs in a branch of a git repository: fetched into a mirror, and loaded whole or not at all.

    remote ── ls-remote ──► head ── fetch ──► mirror.git ── export ──► trees/COMMIT ──► Desired
              every 30 s            (locked)  FETCHED    (judged)                       then GOOD

The head is asked for first, because that is cheap and transfers nothing; a webhook has it asked for
at once (`wake.py`). If it has changed, or the reason why it cannot be read has, `changes` yields
and the loop calls `load`. Only `load` fetches. A commit is written out before it is read, so that a
fetch meanwhile cannot mix two revisions. GOOD moves to a commit only after its specs were loaded
without a problem.

Each step leaves something whole behind: a killed fetch leaves the old mirror and lock files, which
the next one clears; a killed export leaves a `.part` folder, which `sweep` deletes. A damaged
mirror is deleted, since the remote has it all. Only the last good commit is then missed, and only
if the controller restarts while the remote cannot be reached.

Rule 1: a branch that is unreachable, empty, deleted or broken changes nothing.
Rule 2: a head that does not descend from the commit in force, or has not the signature that is
        demanded (`trust.py`), is not even written out.
Rule 3: after a restart the last good commit is used until the newest one can be.
"""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from controller.errors import RevisionRefused, SourceUnavailable, SpecError
from controller.model.desired import Desired
from controller.source.git.address import GitAddress
from controller.source.git.in_force import InForce, descends, read_in_force, write_in_force
from controller.source.git.mirror import FETCH_S, FETCHED, GOOD, commit_of, fetch, renew
from controller.source.git.program import GitFailed, GitProgram, printable
from controller.source.git.signature import signer_of
from controller.source.git.tree import SUBMODULE, export, sweep
from controller.source.git.trust import Trust, read_trust, trust_file
from controller.source.git.wake import LEAST_S, sleep_or_wake, woken_at
from controller.source.load import SpecCache

POLL_S: Final = 30.0
JITTER: Final = 0.2


@dataclass(frozen=True, slots=True)
class Fetched:
    """A commit that was fetched whole and written out."""

    commit: str
    folder: Path
    author: str
    committed_at: float
    subject: str
    rewound: str = ""
    """The commit that was in force, where this one may replace it without descending from it."""
    signer: str = ""
    """Who signed it; empty where no signature was asked for."""


class CommitVerdict(NamedTuple):
    """What became of a commit: whether it is in force, and a sentence."""

    commit: str
    good: bool
    sentence: str


class GitSource:
    """A branch, polled."""

    def __init__(self, address: GitAddress, state_folder: Path, *, poll_s: float = POLL_S,
                 least_s: float = LEAST_S, known_hosts: str | None = None,
                 trust: Path | None = None) -> None:
        digest = sha256(str(address).encode()).hexdigest()[:16]
        self._address = address
        self._state_folder = state_folder
        self._folder = state_folder / "git" / digest
        self._trees = self._folder / "trees"
        self._git = GitProgram(self._folder, address, known_hosts)
        self._trust_file = trust or trust_file()
        self._poll_s, self._least_s = poll_s, least_s
        self._dice = random.Random(digest)
        self._cache = SpecCache()
        self._judged = ""
        self._loaded = False
        self.fetched: Fetched | None = None
        """What was fetched last, loaded well or not."""
        self.good: Fetched | None = None
        """What was loaded well last: the tree that stays until another one is good."""
        self.verdict: CommitVerdict | None = None
        """Of the newest commit, once there is one."""
        self.kept = ""
        """A commit whose tree stays, however many come after it."""
        self._newest = self.fault = ""

    @property
    def address(self) -> GitAddress:
        """Return which branch it is."""
        return self._address

    @property
    def folder(self) -> Path:
        """Return where all that is kept of the branch lies."""
        return self._folder

    @property
    def trees(self) -> Path:
        """Return where the files of commits lie, a folder for each."""
        return self._trees

    @property
    def git(self) -> GitProgram:
        """Return the git program, with the settings of this branch."""
        return self._git

    def in_force(self) -> Fetched:
        """Return the commit in force, from the mirror alone; the remote is not asked.

        Errors: SourceUnavailable if there is none here.
        """
        held = read_in_force(self._folder)
        if held is None:
            raise self._unavailable("was never read here, so that no commit of it is in force")
        tree = self._trees / held.commit
        if not tree.is_dir():
            raise self._unavailable(f"has its commit in force, {held.commit[:12]}, not written out"
                                    " here: the loop does that when it starts")
        return Fetched(held.commit, tree, "", 0.0, "", signer=held.signer)

    def describe(self) -> str:
        """Return the branch and the commit that was fetched last."""
        if self.fetched is None:
            return f"{self._address}, nothing fetched yet"
        commit = self.fetched
        rewound = (f"; it was rewound as allowed: {commit.rewound[:12]} is no longer part of it"
                   if commit.rewound else "")
        signed = f", signed by {commit.signer}" if commit.signer else ""
        return (f"{self._address}, commit {commit.commit[:12]} by {commit.author}:"
                f" {commit.subject}{signed}{rewound}")

    async def load(self) -> Desired:
        """Return what the branch's newest commit declares.

        Errors: SourceUnavailable, SpecError. The first load of a process uses the last good commit
        instead, if there is one; `changes` then yields at once, and the next load names the error.
        """
        first, self._loaded = not self._loaded, True
        try:
            return await self._load_newest()
        except (SourceUnavailable, SpecError):
            good = await self._last_good() if first else None
            if good is None:
                raise
            self._judged = ""
            return good

    async def changes(self) -> AsyncIterator[None]:
        """Yield when the head of the branch has changed, or the reason why it cannot be read."""
        woken = woken_at(self._state_folder)
        while True:
            if await self._peek() != self._judged:
                yield
            pause_s = self._poll_s * self._dice.uniform(1 - JITTER, 1 + JITTER)
            woken = await sleep_or_wake(self._state_folder, woken, pause_s, self._least_s)

    async def poll(self) -> Fetched:
        """Fetch the branch's newest commit and write its files out.

        Errors: SourceUnavailable; SpecError when the commit holds what must not be written.
        """
        try:
            self._trees.mkdir(mode=0o700, parents=True, exist_ok=True)
            await self._git.prepare()
            self._judged = await self._look_once()
            head, *tags = self._judged.split()[:-1]
            self.fetched = await self._bring(head, tuple(tags))
        except OSError as error:
            raise SourceUnavailable(f"{self._address} cannot be kept in {self._folder}: "
                                    f"{error.strerror}; the last good commit stays in force"
                                    ) from error
        return self.fetched

    async def _bring(self, head: str, tags: tuple[str, ...]) -> Fetched:
        """Fetch, judge and write out; a damaged mirror is deleted."""
        try:
            before = await commit_of(self._git, FETCHED)
            if head != before:
                await fetch(self._git, self._address, before)
                head = await commit_of(self._git, FETCHED)
            self._newest = head
            signer, rewound = await self._judge(head, tags)
            await renew(self._git)
            return await self._export(head, signer, rewound)
        except GitFailed as error:
            if await self._mirror_is_sound():
                raise self._unavailable(f"cannot be fetched: {error}") from error
            shutil.rmtree(self._git.mirror, ignore_errors=True)
            raise self._unavailable("has a damaged mirror here, which is fetched anew next time"
                                    ) from error

    async def _judge(self, head: str, tags: tuple[str, ...]) -> tuple[str, str]:
        """Return who signed a head, and the commit in force if it may be rewound.

        Errors: RevisionRefused if it may not be put in force.
        """
        rewound = ""
        try:
            trust, held = read_trust(self._trust_file)[0], await self._held()
            if held and (why := await descends(self._git, self._address, head, held.commit)):
                if head != trust.allow_rewind:
                    raise RevisionRefused(f"{why}; if that is meant, write"
                                          f" `allowRewind: {head}` in {self._trust_file}")
                rewound = held.commit
            return await self._signer(trust, held, head, tags), rewound
        except RevisionRefused as error:
            raise RevisionRefused(f"{self._address}: commit {head[:12]} is refused: {error};"
                                  " the last good commit stays in force") from error

    async def _held(self) -> InForce | None:
        """Return what is in force; a state of an earlier version has it in the mirror only."""
        held, good = read_in_force(self._folder), await commit_of(self._git, GOOD)
        return held or (InForce(good) if good else None)

    async def _signer(self, trust: Trust, held: InForce | None, head: str,
                      tags: tuple[str, ...]) -> str:
        """Return who signed a head; what was judged and in force before is not judged again."""
        if trust.verify is None:
            return ""
        if held and held.commit == head and held.signer:
            return held.signer
        return await signer_of(self._git, trust.verify, head, self._address.url, tags)

    async def _mirror_is_sound(self) -> bool:
        """Return whether the mirror holds every object that its references need."""
        try:
            await self._git.run("fsck", "--connectivity-only", "--no-dangling", "--no-progress",
                                timeout_s=FETCH_S)
        except GitFailed:
            return False
        return True

    async def _load_newest(self) -> Desired:
        """Load the newest commit, and note it as good."""
        self._newest = ""
        try:
            fetched = await self.poll()
            desired = await self._read(fetched)
        except (RevisionRefused, SpecError) as error:
            if self._newest:
                self.verdict = CommitVerdict(self._newest, False, str(error).partition("\n")[0])
            raise               # for what `poll` has seen: the next look that differs loads again
        except SourceUnavailable as error:
            self._judged = str(error)
            raise
        await self._git.run("update-ref", GOOD, fetched.commit)
        write_in_force(self._folder, InForce(fetched.commit, fetched.signer))
        self.good = fetched
        sweep(self._trees, fetched.folder, self.kept)
        self.verdict = CommitVerdict(fetched.commit, True, "its specs are valid, and in force")
        return desired

    async def _last_good(self) -> Desired | None:
        """Load the last good commit from the mirror; None when there is none or it is damaged."""
        try:
            commit, held = await commit_of(self._git, GOOD), read_in_force(self._folder)
            trust, _ = read_trust(self._trust_file)
            if not commit or (trust.verify and not (held and held.commit == commit
                                                    and held.signer)):
                return None
            self.fetched = await self._export(commit, held.signer if held else "", "")
            desired = await self._read(self.fetched)
            self.good = self.fetched
            return desired
        except (SourceUnavailable, SpecError, OSError):
            return None

    async def _read(self, fetched: Fetched) -> Desired:
        """Load a commit's files."""
        return await asyncio.to_thread(self._cache.load, fetched.folder, fetched.commit[:12])

    async def _peek(self) -> str:
        """Return all that a verdict on the branch depends on, or why it cannot be read."""
        try:
            return await self._look()
        except SourceUnavailable as error:
            return str(error)

    async def _look_once(self) -> str:
        """Look; why nobody is trusted counts as seen, so that it is not looked at in a circle."""
        try:
            return await self._look()
        except RevisionRefused as error:
            self._judged = str(error)
            raise

    async def _look(self) -> str:
        """Return the head, the tags on it where they count, and the digest of the trust."""
        trust, digest = read_trust(self._trust_file)
        by_tag = trust.verify is not None and trust.verify.mode == "tag"
        text = await self._refs("--heads", *(("--tags",) if by_tag else ()))
        heads = parse_heads(text)
        if not heads:
            raise self._unavailable("is empty: push a commit")
        head = heads.get(self._address.branch)
        if head is None:
            raise self._unavailable(f"has no branch {self._address.branch}; it was deleted or never"
                                    f" pushed (there is: {', '.join(sorted(heads)[:10])})")
        tags = sorted(tag for tag, commit in parse_tags(text).items() if commit == head)
        return " ".join((head, *tags, digest or "unset"))

    async def _refs(self, *kinds: str) -> str:
        """Return what the remote says of its branches and tags."""
        try:
            return await self._git.run("ls-remote", *kinds, "--", self._address.url)
        except GitFailed as error:
            raise self._unavailable(f"cannot be read: {error}") from error

    async def _export(self, commit: str, signer: str, rewound: str) -> Fetched:
        """Write the files of a commit out, and return what it is."""
        author, at, subject = (await self._git.run(
            "log", "-1", "--format=%an%x00%ct%x00%s", commit)).rstrip("\n").split("\0")
        folder = self._address.folder
        here = await self._git.run("ls-tree", "-d", commit, "--", folder) if folder else "tree"
        if not here:
            raise SpecError((f"{self._address}: commit {commit[:12]} has no folder {folder}",))
        if here.startswith(SUBMODULE):
            raise SpecError((f"{self._address}: {folder} is a submodule: its files are not part of"
                             f" commit {commit[:12]}: name its own repository",))
        tree = await export(self._git, commit, folder, self._trees)
        return Fetched(commit, tree, printable(author), float(at), printable(subject), rewound,
                       signer)

    def _unavailable(self, what: str) -> SourceUnavailable:
        """Return the error, with what stays in force."""
        return SourceUnavailable(f"{self._address} {what}; the last good commit stays in force")


def parse_heads(text: str) -> dict[str, str]:
    """Return the commit of every branch that `git ls-remote --heads` printed."""
    rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
    return {name.removeprefix("refs/heads/"): commit for commit, name in rows
            if name.startswith("refs/heads/")}


def parse_tags(text: str) -> dict[str, str]:
    """Return the commit under every tag with an object of its own that `git ls-remote` printed."""
    rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
    return {name.removeprefix("refs/tags/").removesuffix("^{}"): commit for commit, name in rows
            if name.startswith("refs/tags/") and name.endswith("^{}")}

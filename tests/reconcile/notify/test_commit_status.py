"""Who is told what became of a commit, how often, and what ends that."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import HotsiteError, Refused, SourceUnavailable, SpecError, Unavailable
from controller.reconcile.notify.commit_status import TRIES, CommitStatus
from controller.reconcile.report.event import Event, EventKind
from controller.source.git.address import parse_git_address
from controller.source.git.repository import CommitVerdict, GitSource
from controller.source.git.trust import ReportSpec
from tests.source.git.repository import ESTATE, SITE, Repository, repository

__all__ = ["repository"]
SAID = Event(EventKind.SOURCE, "Source/specs", "", "it is in force", 0.0, "")
FIRST, SECOND = CommitVerdict("a" * 40, True, "in force"), CommitVerdict("b" * 40, False, "wrong")


class Forge:
    """A forge that answers as it was told to, and keeps what it hears."""

    def __init__(self, *answers: HotsiteError) -> None:
        self.answers = list(answers)
        self.heard: list[CommitVerdict] = []
        self.complaints: list[str] = []
        self.verdict: CommitVerdict | None = None
        self.status = CommitStatus(lambda: self.verdict, self.post, self.complaints.append,
                                   again_s=0.01)

    async def post(self, _: ReportSpec, verdict: CommitVerdict) -> None:
        """Hear a verdict."""
        self.heard.append(verdict)
        if self.answers:
            raise self.answers.pop(0)

    def say(self, verdict: CommitVerdict | None) -> None:
        """Have something said of the specs."""
        self.verdict = verdict
        self.status.hear(SAID)


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that says where verdicts are told."""
    path = tmp_path / "git.yaml"
    path.write_text("report: {forge: gitea, url: 'https://h/api/v1/repos/a/b', tokenFile: /t}\n")
    monkeypatch.setenv("HOTSITE_GIT", str(path))
    return path


def play(forge: Forge, *moves: tuple[CommitVerdict | None, Callable[[], bool]]) -> None:
    """Say each verdict, and wait until what should come of it has come."""
    async def act() -> None:
        running = asyncio.create_task(forge.status.run())
        async with asyncio.timeout(60):
            for verdict, come in moves:
                forge.say(verdict)
                while not come():
                    await asyncio.sleep(0)
        for _ in range(20):     # what would be too much has its chance to come
            await asyncio.sleep(0)
        running.cancel()

    asyncio.run(act())


def test_each_verdict_is_told_once_however_often_it_is_said() -> None:
    forge = Forge()
    play(forge, (None, lambda: True), (FIRST, lambda: forge.heard == [FIRST]),
         (FIRST, lambda: True), (SECOND, lambda: forge.heard == [FIRST, SECOND]))


def test_a_forge_that_does_not_answer_is_asked_again_and_not_for_ever() -> None:
    forge = Forge(Unavailable("busy"), Unavailable("busy"))
    play(forge, (FIRST, lambda: len(forge.heard) == 3))
    assert forge.complaints == []
    forge = Forge(*(Unavailable("busy") for _ in range(TRIES)))
    play(forge, (FIRST, lambda: bool(forge.complaints)))
    assert len(forge.heard) == TRIES
    assert "tried 5 times: busy" in forge.complaints[0]


def test_one_that_refuses_is_not_asked_again_for_that_commit() -> None:
    forge = Forge(Refused("no such token"))
    play(forge, (FIRST, lambda: bool(forge.complaints)), (FIRST, lambda: True),
         (SECOND, lambda: forge.heard == [FIRST, SECOND]))
    assert forge.complaints == [f"the forge was not told of commit {'a' * 12}: no such token"]


@pytest.mark.parametrize("text", ["", "verify: {", "allowRewind: null"])
def test_where_the_file_says_nothing_nobody_is_told(trust: Path, text: str) -> None:
    trust.write_text(text)
    forge = Forge()
    play(forge, (FIRST, lambda: True))
    assert forge.heard == []


def test_the_verdict_is_of_the_newest_commit_and_silence_is_none(
        repository: Repository, tmp_path: Path) -> None:
    first = repository.commit(estate=ESTATE)
    source = GitSource(parse_git_address(repository.address), tmp_path / "state")
    assert source.verdict is None
    asyncio.run(source.load())
    good = source.verdict
    assert good is not None
    assert good == CommitVerdict(first, True, "its specs are valid, and in force")
    wrong = repository.commit(more=(SITE % "milan").replace("spec", "spek"))
    with pytest.raises(SpecError):
        asyncio.run(source.load())
    bad = source.verdict
    assert bad is not None
    assert (bad.commit, bad.good) == (wrong, False)
    assert "spek" in bad.sentence
    repository.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "Rewritten")
    repository.git("push", "--quiet", "--force", "origin", "HEAD:main")
    repository.bare.rename(tmp_path / "gone")
    with pytest.raises(SourceUnavailable):
        asyncio.run(source.load())
    assert source.verdict == bad

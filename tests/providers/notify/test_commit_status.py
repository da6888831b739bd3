"""What became of a commit, told to the API of each forge, on loopback."""

import asyncio
from pathlib import Path

import pytest
from pydantic import ValidationError

from controller.errors import ActionError, Refused, Unavailable
from controller.providers.notify.commit_status import post_status
from controller.source.git.trust import ReportSpec
from tests.providers.notify.sinks import OK, Request, http_sink

COMMIT = "28e1879d029cb852e4844d9c718537df08844e03"
SECRET = "s3cr3t-w0rd"


def told(folder: Path, forge: str, *, good: bool = True, sentence: str = "in force",
         answer: bytes = OK, mode: int = 0o600) -> list[Request]:
    """Return what a forge was sent.

    Errors: ActionError.
    """
    token = folder / "token"
    token.write_text(SECRET + "\n")
    token.chmod(mode)

    async def act() -> list[Request]:
        async with asyncio.timeout(60), http_sink() as sink:
            sink.answer = lambda _: answer
            spec = ReportSpec.model_validate({
                "forge": forge, "tokenFile": str(token),
                "url": f"http://127.0.0.1:{sink.port}/api/v4/projects/us%2Festate"})
            await post_status(spec, COMMIT, sentence, good=good)
            return sink.requests

    return asyncio.run(act())


@pytest.mark.parametrize(("forge", "header", "token", "name", "bad"), [
    ("github", "authorization", f"Bearer {SECRET}", "context", "failure"),
    ("gitea", "authorization", f"token {SECRET}", "context", "failure"),
    ("forgejo", "authorization", f"token {SECRET}", "context", "failure"),
    ("gitlab", "private-token", SECRET, "name", "failed")])
def test_each_forge_is_told_in_its_own_words(
        tmp_path: Path, forge: str, header: str, token: str, name: str, bad: str) -> None:
    for good, state in ((True, "success"), (False, bad)):
        (request,) = told(tmp_path, forge, good=good)
        assert request.line == (
            f"POST /api/v4/projects/us%2Festate/statuses/{COMMIT} HTTP/1.1")
        assert request.headers[header] == token
        assert request.content == {"state": state, name: "hotsite", "description": "in force"}


def test_a_long_sentence_is_cut_and_moves_no_cursor(tmp_path: Path) -> None:
    (request,) = told(tmp_path, "github", sentence="\x1b[2J" + "x" * 1000)
    assert len(request.content["description"]) <= 140
    assert request.content["description"].isprintable()


@pytest.mark.parametrize(("status", "kind"), [
    (401, Refused), (404, Refused), (302, Refused), (429, Unavailable), (502, Unavailable)])
def test_what_a_forge_answers_is_told_apart(
        tmp_path: Path, status: int, kind: type[ActionError]) -> None:
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with pytest.raises(kind) as caught:
        told(tmp_path, "github", answer=answer)
    assert SECRET not in str(caught.value)


def test_a_token_that_others_may_read_or_hear_is_not_sent(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="open to other accounts"):
        told(tmp_path, "github", mode=0o644)
    spec = ReportSpec.model_validate({"forge": "gitea", "tokenFile": str(tmp_path / "token"),
                                      "url": "http://git.example.net/api/v1/repos/us/estate"})
    with pytest.raises(Refused, match="over http, where all can read its token"):
        asyncio.run(post_status(spec, COMMIT, "in force", good=True))


@pytest.mark.parametrize("wrong", [
    {"forge": "cvs"}, {"url": "ftp://host/x"}, {"url": "https://ann:pw@host/x"},
    {"url": "https://host/x?y=1"}, {"tokenFile": "token"}])
def test_what_cannot_be_meant_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ReportSpec.model_validate({"forge": "gitea", "tokenFile": "/t",
                                   "url": "https://host/api/v1/repos/a/b"} | wrong)

"""Webhooks and the sign of life, against a server on loopback with whatever manners."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from controller.alerting.message import Message
from controller.errors import ActionError, OutcomeUnknown, Refused, Unavailable
from controller.model.notify.spec import HeartbeatSpec, ReceiverSpec
from controller.providers.notify import webhook
from controller.providers.notify.send import send
from tests.providers.notify.sinks import Sink, http_sink

MESSAGE = Message("0a1b", "ops", 1.7e9, "page", "firing", 'PAGE: "sql" is down [lab]',
                  "- sql\n- web \\ é", "lab", ({"key": "k"},))
SECRET = "s3cr3t-w0rd"


def receiver(**webhook_spec: Any) -> ReceiverSpec:
    """Return a receiver of webhooks."""
    return ReceiverSpec.model_validate({"name": "ops", "webhook": webhook_spec})


def secret_file(folder: Path, content: str, mode: int = 0o600) -> str:
    """Write a secret."""
    path = folder / "secret"
    path.write_text(content + "\n")
    path.chmod(mode)
    return str(path)


def play(scene: Callable[[Sink], Awaitable[None]]) -> None:
    """Run a scene beside a server."""
    async def act() -> None:
        async with asyncio.timeout(60), http_sink() as sink:
            await scene(sink)

    asyncio.run(act())


def test_what_arrives_is_json_with_an_id_that_stays() -> None:
    async def scene(sink: Sink) -> None:
        assert await send(receiver(url=sink.url), MESSAGE) == ""
        (request,) = sink.requests
        assert request.line == "POST /hook HTTP/1.1"
        assert request.headers["idempotency-key"] == "0a1b"
        assert request.content == {**MESSAGE.as_json(), "alerts": [{"key": "k"}]}

    play(scene)


def test_a_template_of_ones_own_stays_json_whatever_the_words_hold(tmp_path: Path) -> None:
    async def scene(sink: Sink) -> None:
        spec = receiver(url=sink.url, tokenFile=secret_file(tmp_path, SECRET), content={
            "text": "*$subject*\n$text", "deep": [{"key": "$token", "$id": 3, "cost": "$$5"}]})
        await send(spec, MESSAGE)
        (request,) = sink.requests
        assert request.content == {
            "text": f"*{MESSAGE.subject}*\n{MESSAGE.text}",
            "deep": [{"key": SECRET, "$id": 3, "cost": "$5"}]}
        assert "authorization" not in request.headers

    play(scene)


def test_a_token_goes_into_a_header_and_nowhere_else(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(sink: Sink) -> None:
        spec = receiver(url=sink.url, tokenFile=secret_file(tmp_path, SECRET))
        await send(spec, MESSAGE)
        sink.answer = lambda _: b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n"
        with pytest.raises(Unavailable) as error:
            await send(spec, MESSAGE)
        assert sink.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert SECRET not in f"{error.value!r} {caplog.text}"

    caplog.set_level(logging.DEBUG)
    play(scene)


def test_an_address_in_a_file_is_used_and_never_shown(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(sink: Sink) -> None:
        path = secret_file(tmp_path, f"{sink.url}?key={SECRET}")
        await send(receiver(urlFile=path), MESSAGE)
        assert sink.requests[0].line == f"POST /hook?key={SECRET} HTTP/1.1"
        sink.answer = lambda _: b"HTTP/1.1 404 No\r\nConnection: close\r\n\r\nno \x1b[31m<b>hook"
        with pytest.raises(Refused, match="answers 404: no .*hook") as error:
            await send(receiver(urlFile=path), MESSAGE)
        assert SECRET not in f"{error.value!r} {caplog.text}"
        assert "\x1b" not in str(error.value)

    caplog.set_level(logging.DEBUG)
    play(scene)


@pytest.mark.parametrize(("content", "mode", "words"), [
    (f"https://127.0.0.1/{SECRET}", 0o644, "chmod 600"),
    (f"https://example.org/{SECRET} more", 0o600, "one word"),
    (f"ftp://example.org/{SECRET}", 0o600, "holds no address"),
    (f"https://u:{SECRET}@example.org/", 0o600, "holds no address"),
    (f"http://example.org/{SECRET}", 0o600, "write https"),
    ("", 0o600, "one word")])
def test_a_bad_file_is_refused_without_a_letter_of_it(
        content: str, mode: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(ActionError, match=words) as error:
        asyncio.run(send(receiver(urlFile=secret_file(tmp_path, content, mode)), MESSAGE))
    assert SECRET not in repr(error.value)


@pytest.mark.parametrize(("answer", "kind"), [
    (b"HTTP/1.1 400 No\r\nConnection: close\r\n\r\ninvalid", Refused),
    (b"HTTP/1.1 429 Later\r\nConnection: close\r\n\r\n", Unavailable),
    (b"HTTP/1.1 503 Oh\r\nConnection: close\r\n\r\n", Unavailable),
    (b"HTTP/1.1 302 There\r\nLocation: http://127.0.0.1:1/x\r\nConnection: close\r\n\r\n", Refused),
    (b"nonsense\r\n\r\n", OutcomeUnknown), (b"", OutcomeUnknown)])
def test_what_an_answer_means(answer: bytes, kind: type[ActionError]) -> None:
    async def scene(sink: Sink) -> None:
        sink.answer = lambda _: answer
        with pytest.raises(kind):
            await send(receiver(url=sink.url), MESSAGE)
        assert len(sink.requests) == 1

    play(scene)


def test_who_takes_it_and_then_talks_for_ever_has_taken_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(sink: Sink) -> None:
        sink.slowly = True
        sink.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"
        assert await send(receiver(url=sink.url), MESSAGE) == ""
        monkeypatch.setattr(webhook, "ANSWER_S", 0.3)
        sink.answer = lambda _: b"HTTP/1.1 20"
        with pytest.raises(OutcomeUnknown):
            await send(receiver(url=sink.url), MESSAGE)

    play(scene)


def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        asyncio.run(send(receiver(url="http://127.0.0.1:1/"), MESSAGE))


def test_a_sign_of_life_is_a_plain_question() -> None:
    async def scene(sink: Sink) -> None:
        await webhook.beat(HeartbeatSpec.model_validate({"url": sink.url}))
        assert sink.requests[0].line == "GET /hook HTTP/1.1"
        sink.answer = lambda _: b"HTTP/1.1 500 Oh\r\nConnection: close\r\n\r\n"
        with pytest.raises(Unavailable, match="the heartbeat's server answers 500"):
            await webhook.beat(HeartbeatSpec.model_validate({"url": sink.url}))

    play(scene)


@pytest.mark.parametrize("bad", [
    {"url": "http://a.org/", "urlFile": "/x"}, {},
    {"url": "https://hooks.slack.com/services/T/B/X"}, {"url": "https://a.org/?key=1"},
    {"url": "https://u:p@a.org/"}, {"url": "http://a.org/", "tokenFile": "/x"},
    {"url": "https://a.org/", "content": {"a": ["$nonsense"]}},
    {"url": "https://a.org/", "content": {"a": "$token"}},
    {"url": "https://a.org/", "content": {"a": "5 $"}}])
def test_a_spec_that_would_show_a_secret_or_an_empty_word_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        receiver(**bad)

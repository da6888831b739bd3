"""A webhook: one POST of JSON. Once its status says that it was taken, nothing more is awaited."""

from typing import Final
from urllib.parse import urlsplit

from controller.alerting.message import Message, plain
from controller.errors import Refused, Unavailable
from controller.model.notify.spec import HeartbeatSpec, WebhookSpec, is_local
from controller.providers.notify.secret import read_secret, read_url
from controller.transport.http import Answer, HttpClient
from controller.transport.tls import Trust

ANSWER_S: Final = 10.0
OK: Final = range(200, 300)
MOVED: Final = range(300, 400)
LATER: Final = frozenset({408, 425, 429})
SERVER: Final = 500
SHOWN: Final = 100


async def post(spec: WebhookSpec, message: Message, name: str) -> str:
    """Send a message; return what was odd about that, if anything.

    Errors: Refused, Unavailable, OutcomeUnknown.
    """
    what = f"the webhook of {name}"
    url = read_url(spec.url, spec.url_file, f"the file with the address of {what}")
    headers, secret = {"Idempotency-Key": message.id}, ""
    if spec.url_file is not None or spec.token_file is not None:
        _check_hidden(url, what)
    if spec.token_file is not None:
        secret = read_secret(spec.token_file, f"the file with the token of {what}")
        if not spec.uses_token:
            headers["Authorization"] = f"Bearer {secret}"
    content = (message.as_json() if spec.content is None
               else message.filled(spec.content, token=secret))
    client = HttpClient(what, url, Trust(ca_file=spec.ca_file), answer_s=ANSWER_S)
    try:
        judge(await client.ask("POST", url, headers=headers, content=content, only_status=True),
              what)
    finally:
        await client.close()
    return ""


async def beat(spec: HeartbeatSpec) -> None:
    """Give a sign of life.

    Errors: Refused, Unavailable.
    """
    what = "the heartbeat's server"
    url = read_url(spec.url, spec.url_file, "the file with the address of the heartbeat")
    if spec.url_file is not None:
        _check_hidden(url, what)
    client = HttpClient(what, url, Trust(ca_file=spec.ca_file), answer_s=ANSWER_S)
    try:
        judge(await client.ask("GET", url, only_status=True), what)
    finally:
        await client.close()


def judge(answer: Answer, what: str) -> None:
    """Raise what an answer's status means, if it was not taken."""
    if answer.status in OK:
        return
    said = plain(answer.body.decode(errors="replace"), SHOWN)
    words = f"{what} answers {answer.status}" + (f": {said}" if said else "")
    if answer.status in LATER or answer.status >= SERVER:
        raise Unavailable(words)
    if answer.status in MOVED:
        raise Refused(f"{what} answers {answer.status} and sends us elsewhere: write that address")
    raise Refused(words)


def _check_hidden(url: str, what: str) -> None:
    """Refuse to show a secret to everybody on the way."""
    if urlsplit(url).scheme != "https" and not is_local(url):
        raise Refused(f"{what} is reached over http, where all can read its secret: write https")

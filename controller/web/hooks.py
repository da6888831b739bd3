"""Webhooks: a forge says that something was pushed, and the branch is looked at now.

    forge ── POST /hooks/git ──► signature of the body ──► a wake ──► ls-remote, as at each poll

    forge              header                     value
    --------------------------------------------------------------------------------------------
    Forgejo            X-Forgejo-Signature        hex of HMAC-SHA256(secret, body)
    Gitea              X-Gitea-Signature          the same
    GitHub             X-Hub-Signature-256        `sha256=` and the same
    GitLab, signing    webhook-signature          `v1,` and base64 of HMAC-SHA256(secret,
                                                  webhook-id.webhook-timestamp.body), some of them
    GitLab, token      X-Gitlab-Token             the secret itself

A hook carries no content: its body is hashed and not parsed, so that a replay costs one look at the
remote. What is then found there is judged as ever (`source/git/trust.py`).

Rule 1: the first header of the table that is there counts alone: a bad one is not made good by
        another one, and one that comes twice is bad.
Rule 2: what is refused is counted by address, and told in the journal once in ten minutes.
Rule 3: no secret, no hooks. It is in a file that only its owner may read, and read at each hook, so
        that a new one needs no restart.
Rule 4: too many hooks of one address are refused before their bodies are read.
"""

import hashlib
import hmac
import os
import stat
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, HTTPException, Request

from controller.errors import SpecError
from controller.source.git.wake import wake
from controller.store.store import Store
from controller.web.access.limits import Limit

PATH: Final = "/hooks/git"
HOOK_BYTES: Final = 1 << 20
"""Longer bodies are refused; a forge sends a push of many commits in less."""
HOOKS: Final = 60
"""Hooks of one address in a minute."""
SECRET_CHARACTERS_MIN: Final = 16
SECRET_BYTES_MAX: Final = 4096
LATE_S: Final = 300.0
TELL_S: Final = 600.0
ADDRESSES: Final = 100
DECODED: Final = "whsec_"
Headers = Sequence[tuple[str, str]]


class Hooks:
    """Judges hooks, and wakes the fetch by those that are signed."""

    def __init__(self, secret_file: Path, state_folder: Path, store: Store,
                 clock: Callable[[], float]) -> None:
        self._secret_file, self._state_folder = secret_file, state_folder
        self._store, self._clock = store, clock
        self._limit = Limit(HOOKS)
        self._told_at = -TELL_S
        self.forged: Counter[str] = Counter()
        """By address: how many had a wrong signature, or none, since that was told last."""

    def admit(self, address: str) -> None:
        """Let a hook's body be read, or not.

        Errors: HTTPException 429.
        """
        if wait_s := self._limit.take(address, self._clock()):
            raise HTTPException(429, f"{HOOKS} hooks came within a minute: the branch is looked at"
                                " anyway", {"retry-after": str(int(wait_s) + 1)})

    def take(self, headers: Headers, body: bytes, address: str) -> None:
        """Wake the fetch by one hook.

        Errors: HTTPException 401 for one that is not signed by the secret; SpecError if the file of
        the secret cannot be used; OSError if the fetch cannot be woken.
        """
        secret = read_secret(self._secret_file)
        if not is_signed(headers, body, secret, self._clock()):
            self._count(address)
            raise HTTPException(401, "the hook is not signed with the secret of this page")
        wake(self._state_folder)

    def _count(self, address: str) -> None:
        """Count a forged hook, and tell of all of them now and then."""
        if address in self.forged or len(self.forged) < ADDRESSES:
            self.forged[address] += 1
        now_s = self._clock()
        if now_s - self._told_at < TELL_S:
            return
        self._told_at = now_s
        (worst, _), *_ = self.forged.most_common(1)
        count = self.forged.total()
        self._store.note("hook", "Source/specs", f"{count} webhook{'s' * (count != 1)} with a wrong"
                         f" signature, or without one, refused; most came from {worst}", now_s)
        self.forged.clear()


def is_signed(headers: Headers, body: bytes, secret: str, now_s: float) -> bool:
    """Return whether a body is signed by the secret, in one of the ways of the table."""
    said: dict[str, list[str]] = {}
    for name, value in headers:
        said.setdefault(name.lower(), []).append(value)

    def only(name: str) -> str:
        """Return the value of a header that is there once; else nothing that is ever right."""
        return said[name][0] if len(said.get(name, ())) == 1 else ""

    key = secret.encode()
    digest = hmac.new(key, body, hashlib.sha256).hexdigest()
    for name, right in (("x-forgejo-signature", digest), ("x-gitea-signature", digest),
                        ("x-hub-signature-256", f"sha256={digest}")):
        if name in said:
            return same(only(name), right)
    if "webhook-signature" in said:
        name, at = only("webhook-id"), only("webhook-timestamp")
        if not (name and at.isascii() and at.isdigit() and len(at) <= 12) or (
                abs(now_s - int(at)) > LATE_S):
            return False
        signed = f"{name}.{at}.".encode("latin-1", "replace") + body
        return any(same(one, f"v1,{b64encode(found).decode()}")
                   for one in only("webhook-signature").split(" ")
                   for found in (hmac.digest(key_of(secret), signed, "sha256"),))
    return "x-gitlab-token" in said and same(only("x-gitlab-token"), secret)


def same(said: str, right: str) -> bool:
    """Return whether two texts are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(said.encode(), right.encode())


def key_of(secret: str) -> bytes:
    """Return the key of a signing secret: one that begins with `whsec_` is base64 of it."""
    if secret.startswith(DECODED):
        try:
            return b64decode(secret.removeprefix(DECODED), validate=True)
        except NotBase64:
            return secret.encode()
    return secret.encode()


def read_secret(path: Path) -> str:
    """Return the secret that a file holds.

    Errors: SpecError if others may read it, or it holds none.
    """
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            content = file.read(SECRET_BYTES_MAX + 1)
    except OSError as error:
        raise SpecError((f"{path}, the secret of webhooks, cannot be read: {error.strerror}",)
                        ) from error
    if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SpecError((f"{path} is the secret of webhooks, and others may read it: chmod 600",))
    secret = content.decode(errors="replace").strip()
    if len(secret) < SECRET_CHARACTERS_MIN or len(content) > SECRET_BYTES_MAX:
        raise SpecError((f"{path} holds no secret of {SECRET_CHARACTERS_MIN} characters or more:"
                         " `openssl rand -hex 32` makes one",))
    return secret


def add_hooks(app: FastAPI, hooks: Hooks) -> None:
    """Add the route that forges call."""

    @app.post(PATH, status_code=202, include_in_schema=False)
    async def pushed(asked: Request) -> dict[str, Any]:
        """Look at the branch now."""
        address = asked.client.host if asked.client else ""
        try:
            hooks.take(asked.headers.items(), await asked.body(), address)
        except SpecError as error:
            raise HTTPException(503, str(error)) from error
        except OSError as error:
            raise HTTPException(503, f"the fetch cannot be woken: {error.strerror}") from error
        return {"sentence": "the branch is looked at"}

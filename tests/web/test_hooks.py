"""Webhooks of four forges: signed ones wake the fetch, and all else is refused and counted."""

import asyncio
import hashlib
import hmac
from base64 import b64encode
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import SpecError
from controller.source.git.wake import woken_at
from controller.store.store import Store
from controller.web.access.people import Rules
from controller.web.access.tokens import Tokens
from controller.web.app import make_app
from controller.web.hooks import HOOK_BYTES, HOOKS, PATH, Hooks, is_signed, read_secret
from tests.plan import builders as b
from tests.web.estates import opened

SECRET = "0123456789abcdef-of-the-forge"
BODY = b'{"ref": "refs/heads/main", "after": "28e1879d029cb852e4844d9c718537df08844e03"}'
Headers = dict[str, str]


def digest(body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard(body: bytes = BODY, at: float = b.NOW_S, key: bytes = SECRET.encode()) -> Headers:
    """Return the headers of GitLab's signing form."""
    signed = f"msg_1.{int(at)}.".encode() + body
    made = b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at)),
            "webhook-signature": f"v1,{made}"}


SIGNED: dict[str, Headers] = {
    "forgejo": {"X-Forgejo-Signature": digest(), "X-Gitea-Signature": digest(),
                "X-Hub-Signature-256": f"sha256={digest()}", "X-Forgejo-Event": "push"},
    "gitea": {"X-Gitea-Signature": digest(), "X-Hub-Signature-256": f"sha256={digest()}"},
    "github": {"X-Hub-Signature-256": f"sha256={digest()}", "X-GitHub-Event": "push"},
    "gitlab": {"X-Gitlab-Token": SECRET, "X-Gitlab-Event": "Push Hook"},
    "gitlab, signing": standard(),
    "gitlab, both": standard() | {"X-Gitlab-Token": SECRET},
    "gitlab, new secret": standard() | {
        "webhook-signature": f"v1,{'A' * 43}= {standard()['webhook-signature']}"},
}
FORGED: dict[str, Headers] = {
    "none": {}, "empty": {"X-Hub-Signature-256": ""},
    "no digest": {"X-Hub-Signature-256": "sha256="},
    "bare hex to GitHub's": {"X-Hub-Signature-256": digest()},
    "of another body": {"X-Hub-Signature-256": f"sha256={digest(b'{}')}"},
    "by another secret": {"X-Gitea-Signature": digest(secret="x" * 20)},
    "upper case": {"X-Gitea-Signature": digest().upper()},
    "a bad one beside a good one": SIGNED["forgejo"] | {"X-Forgejo-Signature": "0" * 64},
    "a token beside a bad one": {"X-Gitlab-Token": SECRET, "webhook-signature": "v1,AAAA",
                                 "webhook-id": "1", "webhook-timestamp": str(int(b.NOW_S))},
    "part of the token": {"X-Gitlab-Token": SECRET[:-1]},
    "an old one": standard(at=b.NOW_S - 301), "one of the future": standard(at=b.NOW_S + 301),
    "no timestamp": standard() | {"webhook-timestamp": ""},
    "a huge timestamp": standard() | {"webhook-timestamp": "9" * 400},
    "another version": standard() | {
        "webhook-signature": standard()["webhook-signature"].replace("v1,", "v2,")},
    "sha1": {"X-Hub-Signature": "sha1=" + hmac.new(SECRET.encode(), BODY, "sha1").hexdigest()},
}


class Page:
    """A page that takes hooks."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.folder, self.store, self.now_s = folder, store, b.NOW_S
        self.secret = folder / "secret"
        self.secret.touch(mode=0o600)
        self.secret.write_text(SECRET + "\n")
        self.hooks = Hooks(self.secret, folder, store, lambda: self.now_s)
        rules = Rules(Tokens(folder / "web-tokens"), open_to_read=False,
                      proxy_header="X-Remote-User", proxies=(ip_network("10.1.0.0/16"),))
        self.app = make_app(store, lambda: self.now_s, rules, self.hooks)

    def post(self, headers: Any, body: Any = BODY, address: str = "10.0.0.9") -> httpx.Response:
        async def whole() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, client=(address, 50_000))
            async with httpx.AsyncClient(transport=transport,
                                         base_url="http://127.0.0.1:8765") as client:
                return await client.post(PATH, headers=headers, content=body)
        return asyncio.run(whole())


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path) as store:
        yield Page(store, tmp_path)


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_hook_wakes_the_fetch(page: Page, name: str) -> None:
    answer = page.post(SIGNED[name])
    assert answer.status_code == 202, answer.text
    assert woken_at(page.folder) > 0
    assert page.hooks.forged.total() == 0


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_hook_is_refused_and_wakes_nobody(page: Page, name: str) -> None:
    answer = page.post(FORGED[name])
    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert woken_at(page.folder) == 0
    assert "1 webhook with a wrong signature" in page.store.events(1)[0].sentence


def test_a_header_that_comes_twice_is_no_signature(page: Page) -> None:
    right = f"sha256={digest()}"
    assert page.post([("x-hub-signature-256", right), ("x-hub-signature-256", right)]
                     ).status_code == 401


def test_a_secret_in_base64_is_the_key_that_it_says() -> None:
    key = bytes(range(32))
    secret = f"whsec_{b64encode(key).decode()}"
    assert is_signed(list(standard(key=key).items()), BODY, secret, b.NOW_S)
    assert not is_signed(list(standard(key=secret.encode()).items()), BODY, secret, b.NOW_S)


def test_a_flood_is_refused_before_its_bodies_are_read_and_told_once(page: Page) -> None:
    for _ in range(HOOKS):
        assert page.post({"X-Gitea-Signature": "0" * 64}).status_code == 401
    read: list[int] = []

    async def body() -> Any:
        read.append(1)
        yield BODY

    answer = page.post(SIGNED["gitea"], body())
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert page.post(SIGNED["gitea"], address="10.0.0.10").status_code == 202
    told = [one for one in page.store.events(1000) if one.kind == "hook"]
    assert len(told) == 1
    page.now_s += 601
    page.post({})
    assert page.store.events(1)[0].sentence == (
        f"{HOOKS} webhooks with a wrong signature, or without one, refused; most came from"
        " 10.0.0.9")


def test_a_flood_through_a_proxy_counts_by_address_whatever_name_it_gives(page: Page) -> None:
    for number in range(HOOKS):
        said = {"x-remote-user": f"ann{number}", "x-forwarded-for": "203.0.113.9"}
        assert page.post(said, address="10.1.0.1").status_code == 401
    assert page.post(said | {"x-remote-user": "bob"}, address="10.1.0.1").status_code == 429
    other = SIGNED["gitea"] | {"x-forwarded-for": "203.0.113.10"}
    assert page.post(other, address="10.1.0.1").status_code == 202


def test_a_body_that_is_too_long_is_refused(page: Page) -> None:
    assert page.post(SIGNED["github"], b"x" * (HOOK_BYTES + 1)).status_code == 413
    large = b"x" * HOOK_BYTES
    assert page.post({"X-Gitea-Signature": digest(large)}, large).status_code == 202


def test_a_hook_is_no_person(page: Page) -> None:
    """Who is signed as a forge may neither read nor act."""
    async def asked(method: str, path: str) -> int:
        transport = httpx.ASGITransport(page.app, client=("10.0.0.9", 50_000))
        async with httpx.AsyncClient(transport=transport,
                                     base_url="http://127.0.0.1:8765") as client:
            return (await client.request(method, path, headers=SIGNED["gitlab"])).status_code

    for method, path in (("GET", PATH), ("POST", "/api/v1/plan/approve"), ("GET", "/api/v1/plan"),
                         ("POST", f"{PATH}/x")):
        assert asyncio.run(asked(method, path)) in {303, 401}


@pytest.mark.parametrize(("content", "mode", "told"), [
    (SECRET, 0o640, "others may read it"), (SECRET, 0o604, "others may read it"),
    ("short", 0o600, "no secret of 16 characters"), ("", 0o600, "no secret of 16 characters"),
    ("x" * 5000, 0o600, "no secret of 16 characters"), (None, 0, "cannot be read")])
def test_a_secret_that_others_know_is_none(
        page: Page, content: str | None, mode: int, told: str) -> None:
    page.secret.unlink()
    if content is not None:
        page.secret.write_text(content)
        page.secret.chmod(mode)
    with pytest.raises(SpecError, match=told):
        read_secret(page.secret)
    answer = page.post(SIGNED["github"])
    assert answer.status_code == 503
    assert SECRET not in answer.text


def test_without_a_secret_there_are_no_hooks(page: Page) -> None:
    app = make_app(page.store, lambda: b.NOW_S)

    async def asked() -> int:
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
        async with httpx.AsyncClient(transport=transport,
                                     base_url="http://127.0.0.1:8765") as client:
            return (await client.post(PATH, headers=SIGNED["github"], content=BODY)).status_code

    assert asyncio.run(asked()) in {404, 405}


NAMES = st.sampled_from(["x-forgejo-signature", "x-gitea-signature", "x-hub-signature-256",
                         "webhook-signature", "webhook-id", "webhook-timestamp", "x-gitlab-token"])


@given(st.lists(st.tuples(NAMES, st.text(max_size=80)), max_size=8), st.binary(max_size=40))
def test_no_headers_at_all_are_good_by_chance_or_end_in_a_fault(
        headers: list[tuple[str, str]], body: bytes) -> None:
    assert not is_signed(headers, body, SECRET, b.NOW_S)

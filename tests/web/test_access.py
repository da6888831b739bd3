"""Who may ask: tokens, sign-ins, proxies, other sites' pages, too much and too often."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from controller.errors import SpecError
from controller.store.store import Store
from controller.web.access.people import COOKIE, Rules, asker_of, caller_of, sign_in
from controller.web.access.tokens import Person, Right, Tokens
from controller.web.server import rules_of
from tests.plan import builders as b
from tests.web.estates import Client, opened

ALL = frozenset({Right.READ, Right.ACT, Right.APPROVE})
OURS = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
PAUSE = {"why": "a test", "for": "1h"}
SUSPEND = "/api/v1/vms/sql/suspend"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "web-tokens")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_token_is_kept_as_a_hash_that_its_owner_alone_reads(tokens: Tokens) -> None:
    token = tokens.add("ann", ALL)
    assert tokens.path.stat().st_mode & 0o777 == 0o600
    assert token.partition(".")[2] not in tokens.path.read_text()
    found = tokens.check(token)
    assert (found and found.name, found and found.rights) == ("ann", ALL)
    for wrong in (token[:-1], token + "x", "ann.", "ann", "", "bob." + token.partition(".")[2]):
        assert tokens.check(wrong) is None
    again = tokens.add("ann", frozenset({Right.READ}))
    assert tokens.check(token) is None
    assert tokens.check(again) is not None
    assert tokens.remove("ann")
    assert tokens.check(again) is None


@pytest.mark.parametrize("text", [
    "ann read", "ann read,fly proxy", "ann read plain",
    f"a.b read scrypt:{'00' * 16}:{'00' * 32}", "ann read proxy\n" * 2,
    "ann  proxy", "ann read scrypt:00:00", "../x read proxy"])
def test_nobody_is_believed_where_a_line_is_not_understood(tokens: Tokens, text: str) -> None:
    tokens.path.write_text(text)
    tokens.path.chmod(0o600)
    with pytest.raises(SpecError):
        tokens.persons()


def test_nobody_is_believed_of_a_file_that_is_open_to_others(tokens: Tokens, store: Store) -> None:
    token = tokens.add("ann", ALL)
    tokens.path.chmod(0o640)
    reply = Client(store, Rules(tokens)).post(SUSPEND, json=PAUSE, headers=bearer(token))
    assert (reply.status_code, "open to others" in reply.json()["detail"]) == (503, True)


@pytest.mark.parametrize(("rights", "status"), [
    (ALL, 200), ({Right.READ}, 403), ({Right.READ, Right.APPROVE}, 403), ({Right.ACT}, 401)])
def test_each_right_stands_alone(tokens: Tokens, store: Store, rights: Any, status: int) -> None:
    token = tokens.add("ann", frozenset(rights))
    reply = Client(store, Rules(tokens)).post(SUSPEND, json=PAUSE, headers=bearer(token))
    assert reply.status_code == status
    assert bool(store.suspensions(b.NOW_S)) == (status == 200)


def test_nobody_acts_unnamed(tokens: Tokens, store: Store) -> None:
    client = Client(store, Rules(tokens))
    assert client.post(SUSPEND, json=PAUSE).status_code == 401
    assert client.post(SUSPEND, json=PAUSE, headers=bearer("ann.x")).status_code == 401
    assert client.get("/api/v1/estate").status_code == 200
    assert not store.suspensions(b.NOW_S)


def test_beyond_loopback_nobody_reads_unnamed(tokens: Tokens, store: Store) -> None:
    client = Client(store, Rules(tokens, open_to_read=False))
    assert client.get("/api/v1/estate").status_code == 401
    assert client.get("/api/v1/stream").status_code == 401
    assert client.get("/").headers["location"] == "/sign-in"
    assert client.get("/sign-in").status_code == client.get("/static/desk.css").status_code == 200
    token = tokens.add("ann", frozenset({Right.READ}))
    assert client.get("/api/v1/estate", headers=bearer(token)).status_code == 200


def test_signing_in_gives_a_cookie_that_no_script_and_no_other_site_has(
        tokens: Tokens, store: Store) -> None:
    token, client = tokens.add("ann", ALL), Client(store, Rules(tokens))
    reply = client.post("/sign-in", data={"token": token}, headers=OURS)
    cookie = reply.headers["set-cookie"]
    assert (reply.status_code, cookie.startswith(f"{COOKIE}=ann.")) == (303, True)
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    mine = {"cookie": cookie.partition(";")[0]}
    assert client.post(SUSPEND, json=PAUSE, headers=mine | OURS).status_code == 200
    for others in ({}, {"origin": "https://evil.example"}, {"origin": "null"},
                   OURS | {"sec-fetch-site": "cross-site"}, OURS | {"sec-fetch-site": "same-site"},
                   {"origin": "http://127.0.0.1:9"}):
        assert client.post(SUSPEND, json=PAUSE, headers=mine | others).status_code == 403
    tokens.add("ann", ALL)      # a new token
    assert client.post(SUSPEND, json=PAUSE, headers=mine | OURS).status_code == 401


def test_a_sign_in_ends_and_cannot_be_made_by_others(tokens: Tokens) -> None:
    person = Person("ann", ALL)
    tokens.add("ann", ALL, proxy=True)
    rules = Rules(tokens)
    good = sign_in(person, rules.key, b.NOW_S)

    def who(value: str, at: float = b.NOW_S) -> str:
        return caller_of({"cookie": f"x=1; {COOKIE}={value}"}, "", rules, at).person.name

    assert who(good) == "ann"
    name, end, seal = good.split(".")
    for value in (f"{name}.{int(end) + 1}.{seal}", f"bob.{end}.{seal}", f"{name}.{end}.", name, "",
                  f"{name}.{end}.{'é' * 8}", sign_in(person, b"other", b.NOW_S)):
        assert who(value) == "nobody", value
    assert who(good, int(end) + 1.0) == "nobody"


def test_a_proxy_is_believed_by_its_address_alone(tokens: Tokens, store: Store) -> None:
    tokens.add("ann", ALL, proxy=True)
    rules = Rules(tokens, open_to_read=False, proxy_header="X-Remote-User",
                  proxies=(ip_network("10.0.0.7/32"),))
    said = OURS | {"x-remote-user": "ann"}
    for address, status in (("10.0.0.7", 200), ("::ffff:10.0.0.7", 200), ("10.0.0.8", 403),
                            ("", 403)):
        client = Client(store, rules, address)
        assert client.post(SUSPEND, json=PAUSE, headers=said).status_code == status
    near = Client(store, rules, "10.0.0.7")
    assert near.post(SUSPEND, json=PAUSE, headers=said | {"origin": "https://evil.example"}
                     ).status_code == 403
    assert near.post(SUSPEND, json=PAUSE, headers=OURS | {"x-remote-user": "bob"}
                     ).status_code == 403
    assert near.get("/api/v1/estate").status_code == 401
    assert near.get("/api/v1/estate", headers={"x-remote-user": "bob"}).status_code == 200


def behind_a_proxy(tokens: Tokens, store: Store) -> Client:
    """Return a page on loopback that an OIDC proxy serves with TLS as desk.example.net."""
    rules = Rules(tokens, open_to_read=False, names=frozenset({"desk.example.net"}),
                  proxy_header="X-Forwarded-Preferred-Username",
                  proxies=(ip_network("127.0.0.1/32"),))
    return Client(store, rules, base="http://desk.example.net")


def test_a_person_acts_through_a_proxy_that_speaks_tls_with_the_browser(
        tokens: Tokens, store: Store) -> None:
    tokens.add("ann.smith@example.net", ALL, proxy=True)
    desk = behind_a_proxy(tokens, store)
    said = {"x-forwarded-preferred-username": "ann.smith@example.net",
            "origin": "https://desk.example.net", "sec-fetch-site": "same-origin"}
    assert desk.post(SUSPEND, json=PAUSE, headers=said).status_code == 200
    assert store.suspensions(b.NOW_S)[0].by == "ann.smith@example.net"
    for origin in ("https://evil.example", "https://desk.example.net.evil.example", "null"):
        assert desk.post(SUSPEND, json=PAUSE, headers=said | {"origin": origin}
                         ).status_code == 403
    with pytest.raises(SpecError, match="no name of a person"):
        tokens.add("ann.smith", ALL)        # a dot would end the name in a token


def test_who_guesses_behind_a_proxy_locks_out_nobody_else(tokens: Tokens, store: Store) -> None:
    desk = behind_a_proxy(tokens, store)
    ours = {"origin": "https://desk.example.net", "sec-fetch-site": "same-origin"}

    def tries(**headers: str) -> int:
        return desk.post("/sign-in", data={"token": "ann.x"}, headers=ours | headers).status_code

    for headers in ({"x-forwarded-preferred-username": "mallory"},
                    {"x-forwarded-for": "198.51.100.7, 203.0.113.9"}):
        assert [tries(**headers) for _ in range(11)] == [403] * 10 + [429]
    assert tries(**{"x-forwarded-preferred-username": "ann"}) == 403
    assert tries(**{"x-forwarded-for": "198.51.100.8, 203.0.113.9"}) == 429     # the last is true
    assert tries(**{"x-forwarded-for": "203.0.113.9, 198.51.100.7"}) == 403
    assert asker_of({"x-forwarded-for": "203.0.113.9"}, "10.9.9.9", Rules(tokens)) == "10.9.9.9"
    for last in range(2):       # a proxy that adds a line of its own: the sender's is no word of it
        said = [*ours.items(), ("x-forwarded-for", f"198.51.100.{last}"),
                ("x-forwarded-for", "203.0.113.9")]
        assert desk.post("/sign-in", data={"token": "ann.x"}, headers=said).status_code == 429


def test_tokens_are_not_guessed_fast(tokens: Tokens, store: Store) -> None:
    token, client = tokens.add("ann", ALL), Client(store, Rules(tokens))
    assert client.get("/api/v1/estate", headers=bearer(token)).status_code == 200
    found = [client.get("/api/v1/estate", headers=bearer(f"ann.{n}")) for n in range(10)]
    assert {one.status_code for one in found} == {401, 429}
    assert found[-1].headers["retry-after"]
    assert client.get("/api/v1/estate", headers=bearer(token)).status_code == 200


def test_a_person_acts_ten_times_a_minute_at_most(tokens: Tokens, store: Store) -> None:
    token, client = tokens.add("ann", ALL), Client(store, Rules(tokens))
    found = [client.post(SUSPEND, json=PAUSE, headers=bearer(token)).status_code
             for _ in range(11)]
    assert found == [200] * 10 + [429]


@pytest.mark.parametrize("content", [b"x" * (65 << 10), b"{" * (64 << 10) + b"}" * 1000])
def test_a_long_body_is_refused(tokens: Tokens, store: Store, content: bytes) -> None:
    token, client = tokens.add("ann", ALL), Client(store, Rules(tokens))

    async def pieces() -> Any:
        for first in range(0, len(content), 1000):
            yield content[first:first + 1000]
    for body in (content, pieces()):        # with its length, and without
        assert client.post(SUSPEND, content=body, headers=bearer(token)).status_code == 413


@pytest.mark.parametrize(("host", "more", "wrong"), [
    ("10.0.0.5", {}, "open to others"), ("10.0.0.5", {"tls": True}, "open to others"),
    ("10.0.0.5", {"proxy_header": "X-User", "proxies": ["10.0.0.7"]}, "open to others"),
    ("127.0.0.1", {"proxy_header": "X-User"}, "go together"),
    ("127.0.0.1", {"proxies": ["10.0.0.7"]}, "go together"),
    ("127.0.0.1", {"proxy_header": "Cookie", "proxies": ["10.0.0.7"]}, "no header"),
    ("127.0.0.1", {"proxy_header": "X-User", "proxies": ["0.0.0.0/0"]}, "every address"),
    ("127.0.0.1", {"proxy_header": "X-User", "proxies": ["proxy"]}, "--trust-from")])
def test_a_page_that_would_be_open_does_not_start(tokens: Tokens, host: str,
                                                  more: dict[str, Any], wrong: str) -> None:
    with pytest.raises(SpecError, match=wrong):
        rules_of(host, tokens, (), **({"tls": False} | more))


def test_a_page_beyond_loopback_has_its_own_names(tokens: Tokens) -> None:
    tokens.add("ann", ALL)
    rules = rules_of("10.0.0.5", tokens, ("Desk.example.net",), tls=True)
    assert (rules.names, rules.open_to_read) == ({"10.0.0.5", "desk.example.net"}, False)

"""The page and its API over a store that a loop has filled."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.errors import Refused, SpecError
from controller.store.database import Database
from controller.store.store import Store
from controller.web.app import KINDS
from controller.web.server import listening, parse_listen
from tests.plan import builders as b
from tests.web.estates import SQL, Client, opened

HOSTILE = "<script>alert(1)</script>\"'&\u202e\x1b[31m"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        yield store


@pytest.fixture
def client(store: Store) -> Client:
    return Client(store)


def answer(client: Client, path: str, status: int = 200) -> Any:
    reply = client.get(path)
    assert reply.status_code == status, reply.text
    return reply.json()


def test_the_estate_as_a_whole(client: Client) -> None:
    found = answer(client, "/api/v1/estate")
    assert (found["estate"], found["now_at"], found["fault"]) == ("lab", b.NOW_S, "")
    paris = next(one for one in found["sites"] if one["site"] == "paris")
    assert (paris["verdict"], paris["level"]) == ("Its one protected VM restarts at milan", "fine")
    assert paris["worst"] == "sql"


def test_lists_are_searched_and_go_on_after_a_name(client: Client) -> None:
    found = answer(client, "/api/v1/vms?limit=1")
    assert (found["total"], [row["name"] for row in found["rows"]]) == (2, ["sql"])
    assert [row["name"] for row in answer(client, "/api/v1/vms?after=sql")["rows"]] == ["web"]
    for words, names in (("host:paris", ["sql"]), ("is:fine", ["sql", "web"]), ("policy:gold s",
                         ["sql"]), ("is:critical", []), ("nothing", [])):
        rows = answer(client, f"/api/v1/vms?q={words}")["rows"]
        assert [row["name"] for row in rows] == names, words


def test_an_object_tells_why_it_is_so(client: Client) -> None:
    found = answer(client, "/api/v1/vms/sql")
    assert found["declared"]["content"]["spec"]["protection"] == "gold"
    assert {one["type"] for one in found["conditions"]} >= {"Ready", "Protected", "Fresh"}


def test_an_objects_history_is_drawn_and_told(client: Client, store: Store) -> None:
    store.save_samples(b.NOW_S - 60, {"paris-1": (1.5, 1 << 30)})
    found = answer(client, "/api/v1/hosts/paris-1/history")
    assert [one["title"] for one in found] == ["Load, day", "Memory, day", "Load, month",
                                               "Memory, month"]
    page = client.get("/hosts/paris-1").text
    assert "<svg" in page
    assert found[0]["sentence"] in page
    assert [one["title"] for one in answer(client, "/api/v1/vms/sql/history")] == [
        "Replica age, day", "Replica age, month"]


def test_every_object_has_a_page(client: Client) -> None:
    seen = set()
    for kind in KINDS:
        for row in answer(client, f"/api/v1/{kind}")["rows"]:
            seen.add(kind)
            reply = client.get(f"/{kind}/{row['name']}")
            assert (reply.status_code, row["name"] in reply.text) == (200, True), row
    assert seen >= {"sites", "hosts", "vms", "networks", "switches", "links"}


@pytest.mark.parametrize(("path", "status"), [
    ("/api/v1/vms/nobody", 404), ("/api/v1/cats", 404), ("/api/v1/cats/tom", 404),
    ("/vms/nobody", 404), ("/static/../app.py", 404), ("/static/%2e%2e%2fapp.py", 404),
    ("/static/inter.LICENSE", 404), ("/api/v1/events?limit=0", 422),
    ("/api/v1/events?after=x", 422), ("/api/v1/vms?limit=99999999", 422)])
def test_what_cannot_be_answered_is_a_problem_with_a_sentence(client: Client, path: str,
                                                              status: int) -> None:
    reply = client.get(path)
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["detail"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8765", "", "localhost.",
                                  "127.0.0.1@evil.example"])
def test_another_name_for_this_machine_is_refused(client: Client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "[::1]:8765", "[::1]"])
def test_the_names_of_loopback_are_answered(client: Client, host: str) -> None:
    assert client.get("/api/v1/estate", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_is_changed_by_it(client: Client, method: str) -> None:
    assert client.request(method, "/api/v1/vms/sql").status_code == 405


def test_every_answer_forbids_what_is_not_from_here(client: Client) -> None:
    for path in ("/", "/vms/sql", "/api/v1/estate", "/static/desk.js", "/api/v1/nothing"):
        policy = client.get(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy


def test_words_of_others_never_become_markup(client: Client, store: Store) -> None:
    store.note("observed", SQL, HOSTILE, b.NOW_S)
    content = {**store.declared((SQL,))[SQL].content, "metadata": {"name": "sql", "labels": {
        "about": HOSTILE}}}
    store.save_declared(store.declared() | {SQL: store.declared((SQL,))[SQL]._replace(
        content=content)})
    page = client.get("/vms/sql").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_browser_that_knows_no_scripts_reads_the_verdicts_and_the_vms(client: Client) -> None:
    page = client.get("/").text
    assert "If paris is lost now" in page
    assert 'href="/vms/sql"' in page


def test_no_page_holds_what_its_policy_forbids(client: Client) -> None:
    for path in ("/", "/vms/sql"):
        page = client.get(path).text
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", page)
        assert not re.search(r"<script(?![^>]*\ssrc=)", page)


def test_a_store_that_cannot_be_read_is_said_and_what_was_read_stays(
        client: Client, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from controller.errors import JournalUnavailable

    def locked(*_: object) -> None:
        raise JournalUnavailable("the journal cannot be used: another process holds it")
    monkeypatch.setattr(Database, "read", locked)
    reply = client.get("/api/v1/vms/sql")
    assert (reply.status_code, "another process" in reply.json()["detail"]) == (503, True)
    assert answer(client, "/api/v1/vms")["total"] == 2


def test_a_loop_that_is_gone_is_not_healthy(client: Client, store: Store) -> None:
    assert answer(client, "/api/v1/healthz")["loop"]
    beat = store.status()
    assert beat is not None
    store.save_status(beat | {"stopped": True})
    assert "was stopped" in answer(Client(store), "/api/v1/healthz", 503)["sentence"]


def test_the_description_names_every_route_and_problem(client: Client) -> None:
    paths = answer(client, "/api/v1/openapi.json")["paths"]
    assert set(paths) == {f"/api/v1/{path}" for path in (
        "estate", "events", "healthz", "stream", "{kind}", "{kind}/{name}", "plan", "plan/approve",
        "{kind}/{name}/suspend", "{kind}/{name}/resume", "vms/{name}/replica/{verb}",
        "{kind}/{name}/history", "{kind}/{name}/failover")}
    assert "503" in paths["/api/v1/estate"]["get"]["responses"]


def test_problems_are_described_as_they_are_answered(client: Client) -> None:
    for path, verbs in answer(client, "/api/v1/openapi.json")["paths"].items():
        for verb, operation in verbs.items():
            for code, told in operation["responses"].items():
                if code[0] != "2" and not path.endswith("healthz"):
                    assert set(told["content"]) == {"application/problem+json"}, (path, code)
            assert verb == "get" or {"400", "401", "403", "409", "413", "429"} <= set(
                operation["responses"]), path


@pytest.mark.parametrize(("text", "where"), [
    ("127.0.0.1:8765", ("127.0.0.1", 8765)), ("localhost:0", ("127.0.0.1", 0)),
    ("[::1]:9000", ("::1", 9000)), ("10.0.0.1:1", ("10.0.0.1", 1))])
def test_an_address_to_listen_on(text: str, where: tuple[str, int]) -> None:
    assert parse_listen(text) == where


@pytest.mark.parametrize("text", ["8765", ":8765", "127.0.0.1:", "127.0.0.1:99999",
                                  "127.0.0.1:-1", "host:80", "", "127.0.0.1:\u0661"])
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not understood"):
        parse_listen(text)


def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    with (socket.create_server(("127.0.0.1", 0)) as other,
          pytest.raises(Refused, match=r"cannot be listened on: Address already in use; end what")):
        listening(*other.getsockname())

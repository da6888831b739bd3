"""What a person does from the page: as the verbs do it, journaled, and never to what was not shown.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.plan.break_glass.break_glass import BreakGlass
from controller.plan.survey.context import RequestKind
from controller.store.store import Store
from controller.web.access.people import Rules
from controller.web.access.tokens import Right, Tokens
from tests.plan import builders as b
from tests.web.estates import SQL, Client, opened

STEP = "restart:VirtualMachine/sql@paris-1"
HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def step(content: str = "c1", reason: str = "memory 1GiB is declared") -> dict[str, Any]:
    return {"id": STEP, "target": SQL, "symbol": "~", "verb": "restart", "nodes": ["paris-1"],
            "reason": reason, "consequence": "off for a minute", "content": content,
            "ruling": {"verdict": "needs approval", "sentence": "above the autonomy",
                       "clears": "hotsite approve"}}


def plans(store: Store, *steps: dict[str, Any]) -> None:
    beat = store.status()
    assert beat is not None
    store.save_status(beat | {"plan": beat["plan"] | {"steps": list(steps)}})


class Ann:
    """A person with every right, by a token or by a browser's form."""

    def __init__(self, store: Store, tokens: Tokens) -> None:
        self.client = Client(store, Rules(tokens))
        self._token = tokens.add("ann", frozenset(Right))

    def act(self, path: str, json: dict[str, Any] | None = None, **more: Any) -> httpx.Response:
        return self.client.post(f"/api/v1/{path}", json=json, headers={
            "authorization": f"Bearer {self._token}"}, **more)

    def form(self, **values: str) -> httpx.Response:
        return self.client.post("/act", data=values, headers={
            "authorization": f"Bearer {self._token}"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path) as store:
        plans(store, step())
        yield store


@pytest.fixture
def ann(store: Store, tmp_path: Path) -> Ann:
    return Ann(store, Tokens(tmp_path / "web-tokens"))


def yes(content: str = "c1", **more: str) -> dict[str, str]:
    return {"step": STEP, "content": content, "why": "agreed with the owner", "for": "30m"} | more


def last(store: Store) -> tuple[str, str, str]:
    row = store.events(1)[-1]
    return row.kind, row.target, row.sentence


def test_a_yes_is_to_the_step_that_was_shown(ann: Ann, store: Store) -> None:
    assert ann.act("plan/approve", yes()).json()["by"] == "ann"
    one, = store.approvals(b.NOW_S)
    assert (one.action_id, one.by, one.content, one.expires_at) == (
        STEP, "ann", "c1", b.NOW_S + 1800)
    kind, target, sentence = last(store)
    assert (kind, target) == ("approved", SQL)
    assert "by ann" in sentence
    assert sentence.endswith(": agreed with the owner")


@pytest.mark.parametrize("now", [[step("c2", "memory 9GiB is declared")], []])
def test_a_yes_to_what_is_planned_otherwise_by_now_is_none(ann: Ann, store: Store,
                                                           now: list[Any]) -> None:
    plans(store, *now)
    reply = ann.act("plan/approve", yes())
    assert reply.status_code == 409
    assert ("9GiB" if now else "does not plan") in reply.json()["detail"]
    assert not store.approvals(b.NOW_S)


def test_a_pause_and_its_end(ann: Ann, store: Store) -> None:
    assert ann.act("vms/sql/suspend", {"why": HOSTILE, "for": "2h"}).status_code == 200
    one, = store.suspensions(b.NOW_S)
    assert (one.target, one.by, one.why, one.until_at) == (SQL, "ann", HOSTILE, b.NOW_S + 7200)
    for page in (ann.client.get("/").text, ann.client.get("/vms/sql").text):
        assert "<img" not in page
        assert "&lt;img" in page
    assert ann.act("vms/sql/resume").status_code == 200
    assert last(store) == ("resumed", SQL, "resumed by ann")
    assert ann.act("vms/sql/resume").status_code == 409


@pytest.mark.parametrize("kind", list(RequestKind))
def test_a_request_about_a_replica(ann: Ann, store: Store, kind: RequestKind) -> None:
    assert ann.act(f"vms/sql/replica/{kind}").status_code == 200
    one, = store.requests()
    assert (one.machine, one.kind, one.by) == ("sql", kind, "ann")
    assert last(store)[2] == f"{kind} requested by ann"


def test_nothing_is_asked_of_a_loop_that_is_gone(ann: Ann, store: Store) -> None:
    beat = store.status()
    assert beat is not None
    store.save_status(beat | {"at": b.NOW_S - 3600})
    ann.client.look()
    reply = ann.act("vms/sql/replica/copy")
    assert (reply.status_code, "is not running" in reply.json()["detail"]) == (503, True)
    assert not store.requests()


@pytest.mark.parametrize(("path", "json", "status"), [
    ("plan/approve", yes(why=""), 422), ("plan/approve", yes(why=" "), 422),
    ("plan/approve", yes(why="x" * 501), 422), ("plan/approve", yes(why="\x1b[31m"), 422),
    ("plan/approve", {k: v for k, v in yes().items() if k != "content"}, 422),
    ("plan/approve", yes(also="this"), 422), ("plan/approve", None, 422),
    ("vms/sql/suspend", {"why": "x", "for": "soon"}, 422),
    ("vms/sql/suspend", {"why": "x", "for": "-1h"}, 422),
    ("vms/sql/suspend", {"why": "x", "for": "0s"}, 422),
    ("vms/sql/suspend", {"why": "x", "for": "9999999d"}, 422),
    ("vms/nobody/suspend", {"why": "x", "for": "1h"}, 404),
    ("cats/tom/suspend", {"why": "x", "for": "1h"}, 404), ("vms/nobody/replica/copy", None, 404),
    ("vms/sql/replica/eat", None, 422), ("plan", None, 405)])
def test_what_is_not_understood_changes_nothing(ann: Ann, store: Store, path: str, json: Any,
                                                status: int) -> None:
    before = store.events(1)
    reply = ann.act(path, json)
    assert (reply.status_code, bool(reply.json()["detail"])) == (status, True), reply.text
    assert (store.approvals(b.NOW_S), store.suspensions(b.NOW_S), store.requests()) == ((),) * 3
    assert store.events(1) == before


@pytest.mark.parametrize(("content", "kind"), [
    (b"\xff\xfe", "application/json"), (b"{", "application/json"), (b"[]", "application/json"),
    (b"{}", "text/plain"), (b"", "application/json")])
def test_a_body_that_is_no_json_is_a_problem(ann: Ann, content: bytes, kind: str) -> None:
    reply = ann.client.post("/api/v1/plan/approve", content=content, headers={
        "authorization": f"Bearer {ann._token}", "content-type": kind})
    assert reply.status_code in {400, 422}
    assert reply.headers["content-type"] == "application/problem+json"


def test_the_form_shows_what_it_means_and_does_the_same(ann: Ann, store: Store) -> None:
    page = ann.client.get("/act", params={"verb": "approve", "step": STEP}, headers={
        "authorization": f"Bearer {ann._token}"}).text
    for word in ("off for a minute", "memory 1GiB is declared", 'value="c1"', "journal says"):
        assert word in page
    reply = ann.form(verb="approve", **yes())
    assert reply.status_code == 303
    assert len(store.approvals(b.NOW_S)) == 1
    assert ann.form(verb="suspend", target=SQL, why="x", **{"for": "1h"}
                    ).headers["location"].startswith("/vms/sql?done=")
    assert ann.form(verb="copy", target=SQL).status_code == 303


def test_a_form_that_is_refused_comes_back_with_what_is_true_now(ann: Ann, store: Store) -> None:
    plans(store, step("c2", f"memory {HOSTILE}"))
    reply = ann.form(verb="approve", **yes())
    assert reply.status_code == 409
    assert "planned otherwise than was shown" in reply.text
    assert 'value="c2"' in reply.text
    assert "<img" not in reply.text
    assert ann.form(verb="suspend", target=SQL, why="", **{"for": "1h"}).status_code == 422
    assert ann.form(verb="suspend", target="Cat/tom", why="x", **{"for": "1h"}).status_code == 404
    assert ann.form(verb="fly", target=SQL).status_code == 404


def test_no_link_puts_words_into_our_mouth(ann: Ann) -> None:
    assert "Suspended: nothing about it" in ann.client.get("/?done=suspend").text
    for path in ("/", "/vms/sql"):
        assert "call me" not in ann.client.get(f"{path}?done=call+me").text


def test_who_is_not_signed_in_is_shown_how(ann: Ann) -> None:
    for query in ({"verb": "approve", "step": STEP}, {"verb": "suspend", "target": SQL}):
        page = ann.client.get("/act", params=query).text
        assert "sign in" in page
        assert '<button class="press"' not in page


def test_the_plan_tells_the_content_that_a_yes_is_to(ann: Ann) -> None:
    found = ann.client.get("/api/v1/plan").json()
    assert [(one["id"], one["content"]) for one in found["steps"]] == [(STEP, "c1")]


def test_a_failover_is_ordered_as_its_dry_run_was_shown(ann: Ann, store: Store) -> None:
    dry = ann.client.get("/api/v1/sites/paris/failover").json()
    assert (dry["target"], dry["protected"], dry["hindered"]) == ("Site/paris", 1, [])
    done = ann.act("sites/paris/failover", {"content": dry["content"], "why": "the room burns"})
    assert done.status_code == 200, done.text
    (order,) = store.failovers()
    assert (order.target, order.by, order.why) == ("Site/paris", "ann", "the room burns")
    assert not order.planned
    assert not order.accepts_loss
    assert last(store) == ("ordered", "Site/paris", "failover ordered by ann: the room burns")


def test_a_failover_that_would_come_to_something_else_by_now_is_not_ordered(
        ann: Ann, store: Store) -> None:
    dry = ann.client.get("/api/v1/sites/paris/failover").json()
    beat = store.status()
    assert beat is not None
    for one in beat["plan"]["predictions"]:
        one |= {"returns": 0, "hindered": [
            {"machine": "sql", "outcome": "waits", "sentence": HOSTILE}]}
    store.save_status(beat)
    refused = ann.act("sites/paris/failover", {"content": dry["content"], "why": "burns"})
    assert refused.status_code == 409
    assert "0 of 1 come back now" in refused.json()["detail"]
    form = ann.form(verb="failover", target="Site/paris", content=dry["content"], why="burns",
                    again="paris")
    assert form.status_code == 409
    assert HOSTILE not in form.text
    assert store.failovers() == ()


@pytest.mark.parametrize(("path", "status"), [
    ("sites/rome/failover", 404), ("vms/sql/failover", 409), ("networks/x/failover", 404)])
def test_a_failover_of_what_has_no_prediction_is_refused(ann: Ann, store: Store, path: str,
                                                         status: int) -> None:
    assert ann.client.get(f"/api/v1/{path}").status_code == status
    assert ann.act(path, {"content": "", "why": "burns"}).status_code == status
    assert store.failovers() == ()


def test_the_form_of_a_failover_wants_the_name_once_more_and_a_right_of_its_own(
        ann: Ann, store: Store, tmp_path: Path) -> None:
    content = ann.client.get("/api/v1/sites/paris/failover").json()["content"]
    values = {"verb": "failover", "target": "Site/paris", "content": content, "why": "it burns"}
    wrong = ann.form(**values, again="milan")
    assert wrong.status_code == 422
    assert "is not paris: nothing is ordered" in wrong.text
    token = Tokens(tmp_path / "web-tokens").add(
        "bob", frozenset({Right.READ, Right.ACT, Right.APPROVE}))
    held = ann.client.post("/api/v1/sites/paris/failover", json={
        "content": content, "why": "it burns"}, headers={"authorization": f"Bearer {token}"})
    assert held.status_code == 403
    assert store.failovers() == ()
    done = ann.form(**values, again="paris")
    assert done.status_code == 303
    assert [one.target for one in store.failovers()] == ["Site/paris"]


def test_a_broken_glass_is_on_every_page_and_in_the_api(ann: Ann, store: Store) -> None:
    assert 'id="glass" role="alert" hidden' in ann.client.get("/").text
    store.save_break_glass(BreakGlass("0badcafe", "ann", HOSTILE, b.NOW_S, b.NOW_S + 3600,
                                      "c0ffee", (), (SQL,)))
    for page in ("/", "/vms/sql", "/sites/paris"):
        text = ann.client.get(page).text
        assert "ann has broken the glass: VirtualMachine/sql is" in text
        assert 'id="glass" role="alert" hidden' not in text
        assert HOSTILE not in text
    assert ann.client.get("/api/v1/estate").json()["break_glass"]["targets"] == [SQL]

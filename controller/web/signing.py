"""Plain forms: signing in and out, and each act with its consequence, its reason and its end.

A form is a page of its own, so that it works without scripts; the main page shows the same form in
a dialog. What is posted goes the way of the API's acts. Where it is refused, the form comes back
with the sentence, and with what is planned now.
"""

from typing import Any, Final
from urllib.parse import parse_qs, quote

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import ValidationError

from controller.errors import HotsiteError
from controller.plan.survey.context import RequestKind
from controller.reconcile.ask.ask import planned
from controller.web.access.people import COOKIE, SESSION_S, asker_of, sign_in
from controller.web.access.tokens import Right
from controller.web.acts import Acts, Done, Lost, Pause, Yes, status_of, would_come
from controller.web.pages import PATHS, render
from controller.web.protect import SIGN_IN, caller_in, headers_of

FIELDS: Final = 10
VERBS: Final = {
    "approve": (Right.APPROVE, "Approve", "1h"), "suspend": (Right.ACT, "Suspend", "2h"),
    "resume": (Right.ACT, "Resume", ""), "copy": (Right.ACT, "Copy now", ""),
    "verify": (Right.ACT, "Verify now", ""), "failover": (Right.FAILOVER, "Fail over", "")}
"""By act: the right that it takes, its words, and the time that is offered."""
MEANS: Final = {
    "suspend": "Nothing about it and all in it is healed until the pause ends: the loop looks, and"
               " shows what differs. What runs already is not stopped, and copies stop, too.",
    "resume": "The loop decides again within a second, and does what it finds to do. What a node"
              " undid by itself is tried once more.",
    "copy": "One restore point is made now, before its time. The VM runs on.",
    "verify": "Every cluster of its replica is read again and compared, and what its own data can"
              " repair is repaired. Nothing on the source is read.",
    "failover": "What ran there starts elsewhere, from its newest sound restore points, once each"
                " of its hosts is proven off. What was written since is lost to it. What still"
                " answers is refused."}


DONE: Final = {
    "approve": "Approved, once: the loop acts within a second, if every other gate lets it.",
    "suspend": "Suspended: nothing about it is healed until the pause ends.",
    "resume": "Resumed: the loop decides again within a second.",
    "copy": "The loop is asked for a copy: what becomes of it is below.",
    "verify": "The loop is asked to verify: what becomes of it is below.",
    "failover": "Ordered: the loop proves its hosts off first, and says here what it waits for."}
"""What a page says after an act; an address brings only the word, so that no link can put words
into our mouth."""


def add_signing(app: FastAPI, web: Any, acts: Acts) -> None:
    """Add the forms."""

    @app.get(SIGN_IN, include_in_schema=False)
    async def form(asked: Request) -> HTMLResponse:
        """The form for a token."""
        return render("sign_in.html", web, caller=caller_in(asked.scope), sentence="")

    @app.post(SIGN_IN, include_in_schema=False)
    async def signed(asked: Request) -> Response:
        """Take a token, and give a cookie."""
        values = await fields(asked)
        address = asked.client.host if asked.client else ""
        person, wait_s = await web.gate.prove(
            values.get("token", "").strip(), asker_of(headers_of(asked.scope), address,
                                                           web.gate.rules))
        if person is None:
            sentence = (f"Too many tokens were tried: wait {wait_s:.0f} s" if wait_s else
                        "This token is not known")
            return render("sign_in.html", web, 429 if wait_s else 403,
                          caller=caller_in(asked.scope), sentence=sentence)
        reply = RedirectResponse("/", 303)
        reply.set_cookie(COOKIE, sign_in(person, web.gate.rules.key, web.clock()), SESSION_S,
                         path="/", secure=True, httponly=True, samesite="strict")
        return reply

    @app.post("/sign-out", include_in_schema=False)
    async def out(_: Request) -> Response:
        """Take the cookie away."""
        reply = RedirectResponse("/", 303)
        reply.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
        return reply

    @app.get("/act", include_in_schema=False)
    async def ask(asked: Request) -> HTMLResponse:
        """The form of one act."""
        return shown(web, asked, dict(asked.query_params), "", 200)

    @app.post("/act", include_in_schema=False)
    async def act(asked: Request) -> Response:
        """Do it, and go back to its object; else show the form with the sentence why not."""
        values = await fields(asked)
        try:
            do(web, acts, asked, values)
        except ValidationError as error:
            first = error.errors()[0]
            return shown(web, asked, values, f"{first['loc'][0]}: {first['msg']}", 422)
        except HTTPException as error:
            return shown(web, asked, values, str(error.detail), error.status_code)
        except HotsiteError as error:
            return shown(web, asked, values, str(error), status_of(error))
        return RedirectResponse(f"{path_of(values.get('target', '')) or '/'}?done={values['verb']}",
                                303)


async def fields(asked: Request) -> dict[str, str]:
    """Return the fields of a form.

    Errors: HTTPException 422.
    """
    try:
        found = parse_qs((await asked.body()).decode(), keep_blank_values=True,
                         max_num_fields=FIELDS, errors="strict")
    except ValueError as error:     # UnicodeDecodeError is one
        raise HTTPException(422, f"the form is not understood: {error}") from error
    return {key: values[-1] for key, values in found.items()}


def do(web: Any, acts: Acts, asked: Request, values: dict[str, str]) -> Done:
    """Do what a form says.

    Errors: as those of `Acts`; ValidationError.
    """
    verb, target = values.get("verb", ""), values.get("target", "")
    why, span = values.get("why", ""), values.get("for", "")
    if verb == "approve":
        return acts.approve(asked, Yes.model_validate({
            "step": values.get("step", ""), "content": values.get("content", ""), "why": why,
            "for": span}))
    kind, _, name = target.partition("/")
    target = web.target(PATHS.get(kind, kind), name)
    if verb == "suspend":
        return acts.suspend(asked, target, Pause.model_validate({"why": why, "for": span}))
    if verb == "resume":
        return acts.resume(asked, target)
    if verb == "failover":
        if values.get("again", "").strip() != name:
            raise HTTPException(422, f"{values.get('again', '')!r} is not {name}: nothing is"
                                " ordered")
        return acts.failover(asked, target, Lost.model_validate({
            "content": values.get("content", ""), "why": why}))
    if verb in {"copy", "verify"} and kind == "VirtualMachine":
        return acts.request(asked, name, RequestKind(verb))
    raise HTTPException(404, f"{verb} is nothing that can be done about {target}")


def shown(web: Any, asked: Request, values: dict[str, str], sentence: str,
          status: int) -> HTMLResponse:
    """Return the form of an act as it stands now.

    Errors: HTTPException 404.
    """
    verb, step = values.get("verb", ""), None
    if verb not in VERBS:
        raise HTTPException(404, f"there is no act {verb}")
    right, word, span = VERBS[verb]
    target, lost = values.get("target", ""), None
    if verb == "failover":
        try:
            lost = would_come(web, target)
        except HotsiteError as error:
            sentence = sentence or str(error)
            status = status_of(error) if status == 200 else status
    if verb == "approve":
        try:
            step = planned(web.feed.desk.beat or None, values.get("step", ""))
            target = str(step["target"])
        except HotsiteError as error:
            sentence = sentence or str(error)
            status = status_of(error) if status == 200 else status
    return render("act.html", web, status, caller=caller_in(asked.scope), verb=verb, word=word,
                  right=right, step=step, lost=lost, loop=web.alive(), target=target,
                  means=MEANS.get(verb, ""), sentence=sentence, why=values.get("why", ""),
                  span=values.get("for", span))


def path_of(target: str) -> str:
    """Return the path of an object's page; empty where it has none."""
    kind, _, name = target.partition("/")
    return f"/{PATHS[kind]}/{quote(name, safe='')}" if kind in PATHS else ""

"""The routes of the page and of its API."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException as Refusal

from controller import __version__
from controller.errors import JournalUnavailable, Refused, SourceUnavailable
from controller.reconcile.inspect.desk import Desk
from controller.reconcile.inspect.head import chain_of, event_of, head_of
from controller.store.store import Store
from controller.web.access.people import Rules
from controller.web.access.tokens import Tokens
from controller.web.acts import Acts, add_acts, status_of
from controller.web.answers import Chain, Drawn, Estate, Events, Health, Problem, Rows, problems
from controller.web.charts import charts_of
from controller.web.feed import Feed, as_json
from controller.web.hooks import Hooks, add_hooks
from controller.web.pages import render
from controller.web.protect import Gate, Protect, caller_in
from controller.web.search import means
from controller.web.signing import DONE, add_signing
from controller.web.stream import Stream

KINDS: Final = {
    "sites": "Site", "hosts": "Host", "vms": "VirtualMachine", "networks": "Network",
    "switches": "Switch", "links": "InterSiteLink", "witnesses": "Witness"}
TYPES: Final = {"css": "text/css", "js": "text/javascript", "woff2": "font/woff2",
                "svg": "image/svg+xml"}
PROBLEMS: Final = problems(
    _401="nobody says who asks", _404="there is no such object", _421="the page has another name",
    _422="a value is not understood", _429="too many tokens were tried",
    _503="the store cannot be read")
EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {}}, "description": "events, for ever"}}
ILL: Final[dict[int | str, dict[str, Any]]] = {
    503: {"model": Health, "description": "the loop is gone, or the store cannot be read"}}
STREAMS: Final = 300
API: Final = "/api/v1"
NO_FILE: Final = Path("/nonexistent/web-tokens")


class Web:
    """Everything that the routes share."""

    def __init__(self, store: Store, clock: Callable[[], float],
                 gate: Gate | None = None) -> None:
        self.store, self.clock = store, clock
        self.gate = gate or Gate(Rules(Tokens(NO_FILE)))
        self.feed = Feed(Desk(store, clock))
        self.streams = 0
        self._head: tuple[int, str, bytes] = (-1, "", b"")

    def head(self) -> bytes:
        """Return what stands above the rows, as JSON; made once for each look."""
        if self._head[:2] != (self.feed.beats, self.feed.fault):
            try:
                head = head_of(self.feed.desk, self.store, self.clock())
            except JournalUnavailable:
                head = {}
            self._head = (self.feed.beats, self.feed.fault, as_json(
                head | {"began": self.feed.began, "fault": self.feed.fault}))
        return self._head[2]

    def alive(self) -> tuple[bool, str]:
        """Return whether the loop lives, and the sentence that says so."""
        return life(self)

    def target(self, kind: str, name: str) -> str:
        """Return the target that a path names.

        Errors: HTTPException 404.
        """
        target = f"{KINDS.get(kind, kind)}/{name}"
        if kind not in KINDS or self.feed.desk.rows.get(target, (0, None))[1] is None:
            raise HTTPException(404, f"{target} is not declared")
        return target


def make_app(store: Store, clock: Callable[[], float] = time.time,
             rules: Rules | None = None, hooks: Hooks | None = None) -> FastAPI:
    """Return the application over a store; without rules everybody reads and nobody acts."""
    web = Web(store, clock, Gate(rules) if rules else None)
    acts = Acts(web)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        """Look at the store for as long as the application runs."""
        web.feed.look()
        looking = asyncio.create_task(web.feed.keep())
        try:
            yield
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking

    app = FastAPI(title="hotsite", version=__version__, lifespan=lifespan, docs_url=None,
                  redoc_url=None, openapi_url=f"{API}/openapi.json")
    app.state.web = web
    app.add_middleware(Protect, gate=web.gate, clock=clock, hooks=hooks)
    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, not_understood)
    for kind in (Refused, SourceUnavailable, JournalUnavailable):
        app.add_exception_handler(kind, not_done)
    if hooks is not None:
        add_hooks(app, hooks)
    add_acts(app, web, acts)
    add_signing(app, web, acts)
    add_api(app, web)
    add_pages(app, web)
    return app


def add_api(app: FastAPI, web: Web) -> None:
    """Add the routes of the API."""

    @app.get(f"{API}/estate", response_model=Estate, responses=PROBLEMS)
    async def estate() -> Response:
        """The estate as a whole: the loop, the verdict on each site, what waits, runs, is paused.
        """
        return Response(web.head()[:-1] + b',"now_at":%f}' % web.clock(),
                        media_type="application/json")

    @app.get(f"{API}/events", response_model=Events, responses=PROBLEMS)
    async def events(after: Annotated[int, Query(ge=0, le=1 << 62)] = 0,
                     target: Annotated[str | None, Query(max_length=200)] = None,
                     limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Response:
        """Lines of the journal: the newest, or those after an id."""
        found = web.store.events(limit, target=target, after=after)
        return json_response({"events": [event_of(row) for row in found]})

    @app.get(f"{API}/healthz", response_model=Health, responses=ILL)
    async def healthz() -> Response:
        """Whether the loop lives: 200, or 503."""
        lives, sentence = life(web)
        return json_response({"loop": lives, "sentence": sentence}, 200 if lives else 503)

    @app.get(f"{API}/stream", response_class=Response, responses=PROBLEMS | EVENTS)
    async def stream(last_event_id: Annotated[str, Header(max_length=64)] = "",
                     since: Annotated[str, Query(max_length=64)] = "") -> Response:
        """Rows and head as they change, as server-sent events."""
        if web.streams >= STREAMS:
            raise HTTPException(503, f"{STREAMS} pages are open already")
        return Counted(web, last_event_id or since)

    @app.get(API + "/{kind}", response_model=Rows, responses=PROBLEMS)
    async def rows(kind: str, q: Annotated[str, Query(max_length=200)] = "",
                   after: Annotated[str, Query(max_length=64)] = "",
                   limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000) -> Response:
        """The objects of a kind by name: sites, hosts, vms, networks, switches, links, witnesses.
        """
        if kind not in KINDS:
            raise HTTPException(404, f"{kind} is no kind; there are {', '.join(KINDS)}")
        found = [row for row in web.feed.desk.of_kind(KINDS[kind]) if means(row, q)]
        return json_response({
            "began": web.feed.began, "version": web.feed.desk.version, "total": len(found),
            "rows": [row for row in found if row["name"] > after][:limit]})

    @app.get(API + "/{kind}/{name}", response_model=Chain, responses=PROBLEMS)
    async def chain(kind: str, name: str) -> Response:
        """Why an object is as it is: declared, seen, differing, held back, done."""
        target = web.target(kind, name)
        return json_response(chain_of(web.feed.desk, web.store, target, web.clock()))


    @app.get(API + "/{kind}/{name}/history", responses=PROBLEMS)
    async def history(kind: str, name: str) -> list[Drawn]:
        """The charts of an object: replica age, or load and memory, for a day and a month."""
        row = web.feed.desk.rows[web.target(kind, name)][1]
        found = charts_of(web.store, row, web.clock()) if row else []
        return [Drawn.model_validate(one._asdict()) for one in found]


def add_pages(app: FastAPI, web: Web) -> None:
    """Add the pages themselves, and their files."""

    @app.get("/", include_in_schema=False)
    async def page(asked: Request, done: str = "") -> HTMLResponse:
        """The main page; without scripts it shows the verdicts and lists as they are now."""
        return render("desk.html", web, caller=caller_in(asked.scope), done=DONE.get(done, ""),
                      head=head_of(
            web.feed.desk, web.store, web.clock()))

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str, accept_encoding: Annotated[str, Header()] = "") -> Response:
        """A file of the page."""
        kind = name.rpartition(".")[2]
        if kind not in TYPES or name not in static_files():
            raise HTTPException(404, f"there is no file {name}")
        plain, packed = static_files()[name]
        small = packed if "gzip" in accept_encoding else b""
        return Response(small or plain, media_type=TYPES[kind], headers={
            "cache-control": "no-cache", "vary": "accept-encoding",
            **({"content-encoding": "gzip"} if small else {})})

    @app.get("/{kind}/{name}", include_in_schema=False)
    async def object_page(asked: Request, kind: str, name: str, done: str = "") -> HTMLResponse:
        """The page of one object."""
        target = web.target(kind, name)
        row = web.feed.desk.rows[target][1]
        return render("object.html", web, caller=caller_in(asked.scope), done=DONE.get(done, ""),
                      charts=charts_of(web.store, row, web.clock()) if row else [],
                      chain=chain_of(web.feed.desk, web.store, target, web.clock()))


class Counted(Stream):
    """A stream that counts as open while it is."""

    def __init__(self, web: Web, last_id: str) -> None:
        super().__init__(web.feed, web.head, last_id)
        self._web = web

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send until either end is over."""
        self._web.streams += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._web.streams -= 1


def life(web: Web) -> tuple[bool, str]:
    """Return whether the loop lives, and the sentence that says so."""
    from controller.reconcile.inspect.loop_status import LoopStatus  # noqa: PLC0415

    if web.feed.fault:
        return False, web.feed.fault
    loop = LoopStatus(web.clock(), web.feed.desk.beat or None, (), (), ())
    return loop.alive, loop.loop_line()[0]


@cache
def static_files() -> dict[str, tuple[bytes, bytes]]:
    """Return the files of the page by name, each as gzip, too, where that is worth it."""
    folder = resources.files("controller.web") / "static"
    return {one.name: (plain, gzip.compress(plain) if one.name.endswith(("js", "css")) else b"")
            for one in folder.iterdir() if one.is_file() and (plain := one.read_bytes())}


def json_response(value: Any, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(as_json(value), status, media_type="application/json")


def problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem document."""
    title = {404: "Not found", 409: "Not as shown", 422: "Not understood",
             503: "Unavailable"}.get(status, "Refused")
    return JSONResponse(Problem(title=title, status=status, detail=sentence).model_dump(), status,
                        headers, media_type="application/problem+json")


async def refused(asked: Request, error: Exception) -> Response:
    """Answer what a route refused."""
    assert isinstance(error, Refusal)
    return told(asked, error.status_code, str(error.detail), error.headers)


async def not_understood(asked: Request, error: Exception) -> Response:
    """Answer a value that is not understood."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return told(asked, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")


async def not_done(asked: Request, error: Exception) -> Response:
    """Answer what was refused, or while the loop or the store is not there."""
    return told(asked, status_of(error), str(error))


def told(asked: Request, status: int, sentence: str,
         headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem, as a page where a browser shows it to a person."""
    if asked.url.path.startswith(API) or "text/html" not in asked.headers.get("accept", ""):
        return problem(status, sentence, headers)
    return render("problem.html", asked.app.state.web, status, headers=headers, sentence=sentence,
                  caller=caller_in(asked.scope))

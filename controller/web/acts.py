"""What a person may do from the page: say yes, pause, end a pause, order a copy or a failover.

Each act is one function of `reconcile/ask`, as the verbs call it: this module asks only whether the
person may, and whether the words are understood. It writes to the store and to nothing else.
"""

from typing import Annotated, Any, Final

from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from controller.errors import Refused, SourceUnavailable
from controller.model.units import parse_duration_s
from controller.plan.survey.context import RequestKind
from controller.reconcile.ask.ask import (
    approve,
    fail_over,
    foreseen,
    request,
    resume,
    suspend,
    until,
)
from controller.reconcile.inspect.predictions import sentences_of
from controller.web.access.limits import Limit
from controller.web.access.tokens import Person, Right
from controller.web.answers import problems
from controller.web.feed import as_json
from controller.web.protect import caller_in

API: Final = "/api/v1"
ACTS: Final = 10
"""Acts of one person in a minute."""
WHY = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500,
                                       pattern=r"^[^\x00-\x1f\x7f]*$")]
SPAN = Annotated[str, StringConstraints(max_length=20)]
PROBLEMS: Final = problems(
    _400="the body is no JSON", _401="nobody says who asks", _403="the person may not",
    _404="there is no such object", _408="the body is too slow",
    _409="it is no longer as was shown", _413="the body is too long",
    _422="a value is not understood", _429="too often",
    _503="the loop or the store is not there")


class Yes(BaseModel):
    """A yes to one planned step, as it was shown."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    step: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    content: Annotated[str, StringConstraints(max_length=200)] = Field(
        description="The step's content, as the plan shows it: what the person has read.")
    why: WHY
    span: SPAN = Field("1h", alias="for", description="How long it holds: 30m.")


class Pause(BaseModel):
    """A pause of an object and all in it."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    why: WHY
    span: SPAN = Field(alias="for", description="How long: 2h.")


class Lost(BaseModel):
    """An order to start elsewhere what ran on a lost site or host, as its dry run was shown."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    content: Annotated[str, StringConstraints(max_length=200)] = Field(
        description="The content of the dry run: what the person has read.")
    why: WHY
    accepts_loss: bool = Field(False, alias="acceptLoss", description="Take the loss that the dry"
                               " run shows for what would wait.")


class DryRun(BaseModel):
    """What the loss of a site or host would come to now, as the loop sees it."""

    target: str
    content: str = Field(description="What an order has to name: a digest of who comes back.")
    sentence: str
    basis: str
    returns: int
    protected: int
    hindered: list[dict[str, Any]] = Field(description="Who does not come back, and why.")


class Done(BaseModel):
    """What was written for the loop, which decides within a second."""

    target: str
    by: str
    sentence: str


class Acts:
    """All acts, over what the routes share."""

    def __init__(self, web: Any) -> None:
        self._web = web
        self._limit = Limit(ACTS)

    def may(self, asked: Request, right: Right) -> Person:
        """Return who asks, where that person may do it, and not too often.

        Errors: HTTPException 401, 403, 429.
        """
        person = caller_in(asked.scope).person
        if right not in person.rights:
            if person.name == "nobody":
                raise HTTPException(401, "sign in first: nobody knows who asks",
                                    {"www-authenticate": "Bearer"})
            raise HTTPException(403, f"{person.name} has no right to {right}: whoever keeps the"
                                f" page gives it with `hotsite web-token {person.name} --right"
                                f" {right}`")
        if wait_s := self._limit.take(person.name, self._web.clock()):
            raise HTTPException(429, f"{person.name} has done {ACTS} things within a minute: wait"
                                f" {wait_s:.0f} s", {"retry-after": str(int(wait_s) + 1)})
        return person

    def span_s(self, text: str) -> float:
        """Return a span of time in seconds.

        Errors: HTTPException 422.
        """
        try:
            seconds = parse_duration_s(text)
            until(seconds, 0.0)
        except (ValueError, Refused) as error:
            raise HTTPException(422, f"for: {error}") from error
        return seconds

    def approve(self, asked: Request, yes: Yes) -> Done:
        """Say yes to a step.

        Errors: HTTPException; Refused, SourceUnavailable and JournalUnavailable of `ask`.
        """
        person = self.may(asked, Right.APPROVE)
        self._web.feed.look()
        given = approve(self._web.store, self._web.feed.desk.beat or None, yes.step, person.name,
                        self.span_s(yes.span), self._web.clock(), shown=yes.content, why=yes.why)
        return Done(target=given.action_id, by=given.by, sentence=f"{given.action_id} is approved"
                    f" once, at revision {given.revision}")

    def suspend(self, asked: Request, target: str, pause: Pause) -> Done:
        """Pause an object.

        Errors: as those of `approve`.
        """
        person = self.may(asked, Right.ACT)
        suspend(self._web.store, target, person.name, pause.why, self.span_s(pause.span),
                self._web.clock())
        return Done(target=target, by=person.name, sentence=f"{target} is suspended")

    def resume(self, asked: Request, target: str) -> Done:
        """End a pause.

        Errors: as those of `approve`.
        """
        person = self.may(asked, Right.ACT)
        was, again = resume(self._web.store, target, person.name, self._web.clock())
        if not was and not again:
            raise Refused(f"{target} was not suspended by hand: a pause in the specs ends there")
        return Done(target=target, by=person.name, sentence=f"{target} is no longer suspended"
                    if was else f"what {target} undid by itself is tried once more")

    def failover(self, asked: Request, target: str, lost: Lost) -> Done:
        """Order a failover of a site or host that is lost.

        Errors: as those of `approve`.
        """
        person = self.may(asked, Right.FAILOVER)
        if not self._web.alive()[0]:
            raise SourceUnavailable(self._web.alive()[1])
        self._web.feed.look()
        fail_over(self._web.store, self._web.feed.desk.beat or None, target, person.name, lost.why,
                  self._web.clock(), shown=lost.content, accepts_loss=lost.accepts_loss)
        return Done(target=target, by=person.name, sentence=f"the failover of {target} is ordered:"
                    " its hosts are proven off first")

    def request(self, asked: Request, machine: str, kind: RequestKind) -> Done:
        """Ask for something about a replica.

        Errors: as those of `approve`.
        """
        person = self.may(asked, Right.ACT)
        if not self._web.alive()[0]:
            raise SourceUnavailable(self._web.alive()[1])
        request(self._web.store, machine, kind, person.name, self._web.clock())
        return Done(target=f"Replica/{machine}", by=person.name,
                    sentence=f"the loop is asked to {kind} the replica of {machine}")


def add_acts(app: FastAPI, web: Any, acts: Acts) -> None:
    """Add the routes of the acts."""

    @app.get(f"{API}/plan", responses={503: PROBLEMS[503]})
    async def plan() -> Response:
        """The loop's plan: each step with what holds it back and the content that a yes is to."""
        beat = web.feed.desk.beat
        found = beat.get("plan") or {}
        return Response(as_json({"revision": beat.get("revision"), **{
            key: found.get(key) for key in ("summary", "step_count", "steps", "remarks")}}),
            media_type="application/json")

    @app.post(f"{API}/plan/approve", responses=PROBLEMS)
    async def say_yes(asked: Request, yes: Annotated[Yes, Body()]) -> Done:
        """Let the loop do one step once, as it was shown."""
        return acts.approve(asked, yes)

    @app.post(API + "/{kind}/{name}/suspend", responses=PROBLEMS)
    async def pause_it(asked: Request, kind: str, name: str,
                       pause: Annotated[Pause, Body()]) -> Done:
        """Pause healing of an object and all in it, for a while."""
        return acts.suspend(asked, web.target(kind, name), pause)

    @app.post(API + "/{kind}/{name}/resume", responses=PROBLEMS)
    async def resume_it(asked: Request, kind: str, name: str) -> Done:
        """End a pause that was begun by hand."""
        return acts.resume(asked, web.target(kind, name))

    @app.get(API + "/{kind}/{name}/failover", responses=PROBLEMS)
    async def dry_run(kind: str, name: str) -> DryRun:
        """What a failover of a site or host would come to now; nothing is ordered."""
        return DryRun.model_validate(would_come(web, web.target(kind, name)))

    @app.post(API + "/{kind}/{name}/failover", responses=PROBLEMS)
    async def fail_it_over(asked: Request, kind: str, name: str,
                           lost: Annotated[Lost, Body()]) -> Done:
        """Order a failover of a site or host that is lost, as its dry run was shown."""
        return acts.failover(asked, web.target(kind, name), lost)

    @app.post(API + "/vms/{name}/replica/{verb}", responses=PROBLEMS)
    async def ask_for(asked: Request, name: str, verb: RequestKind) -> Done:
        """Ask for a copy of a VM, or that its replica is verified, sent anew or repaired."""
        web.target("vms", name)
        return acts.request(asked, name, verb)


def would_come(web: Any, target: str) -> dict[str, Any]:
    """Return what the loss of a site or host would come to, and what an order has to name.

    Errors: Refused, SourceUnavailable.
    """
    web.feed.look()
    row, content = foreseen(web.feed.desk.beat or None, target)
    said = sentences_of(dict(row), web.clock())
    return {"target": target, "content": content, "sentence": said["sentence"],
            "basis": said["basis"], "returns": row["returns"], "protected": row["protected"],
            "hindered": list(row["hindered"])}


def status_of(error: Exception) -> int:
    """Return the status of what an act was refused with."""
    return 409 if isinstance(error, Refused) else 503

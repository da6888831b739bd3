"""A store as a loop leaves it, for the desk and the page to read."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from controller.model.desired import Desired
from controller.model.facts import Known
from controller.plan.compute import compute
from controller.reconcile.decide.declared import documents_of
from controller.reconcile.observe.last_seen import save_fact
from controller.store.store import Store
from controller.web.access.people import Rules
from controller.web.app import make_app
from tests.plan import builders as b
from tests.plan import replicas as r

SQL = "VirtualMachine/sql"


def estate() -> Desired:
    """The VM sql at paris, protected; web, which is not."""
    return b.small(b.vm("sql", protection="gold", placement={"site": "paris"}),
                   b.vm("web", placement={"site": "milan"}))


def fill(store: Store, desired: Desired, at: float = b.NOW_S, **beat: Any) -> None:
    """Write what a loop writes that sees everything as declared."""
    observed = r.asked(b.as_declared(desired, {"sql": "paris-1", "web": "milan-1"}), desired)
    observed = r.with_replica(observed, "milan-1", r.replica("sql", r.series(12, 60)))
    plan = compute(desired, observed, b.APPLIED, at)
    store.save_declared(documents_of(desired))
    for node, fact in observed.nodes.items():
        assert isinstance(fact, Known)
        save_fact(store, node, fact)
    store.save_conditions(plan.conditions, at)
    store.save_status({
        "pid": 1, "at": at, "started_at": at - 60, "stopped": False, "revision": desired.revision,
        "source": {"good": True, "sentence": "revision r1 is in force", "at": at},
        "nodes": {node: {"state": "known", "observed_at": at} for node in observed.nodes},
        "plan": {"summary": "no change at r1", "steps": [], "remarks": [], "failovers": [],
                 "predictions": [{
                     "site": one.site, "twin": one.twin, "protected": one.protected,
                     "hindered": [], "worst": one.worst, "worst_at": one.worst_at,
                     "automatic": one.automatic, "returns": one.returns}
                     for one in plan.predictions]}} | beat)


def opened(tmp_path: Path) -> Store:
    """Open a store that a loop has filled."""
    store = Store.open(tmp_path / "state.db")
    fill(store, estate())
    return store


class Client:
    """Asks the page in this process, as a browser at 127.0.0.1 would."""

    def __init__(self, store: Store, rules: Rules | None = None,
                 address: str = "127.0.0.1", base: str = "http://127.0.0.1:8765") -> None:
        self._app = make_app(store, lambda: b.NOW_S, rules)
        self._app.state.web.feed.look()
        self._address, self._base = address, base

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Return the answer."""
        async def whole() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(self._address, 50_000))
            async with httpx.AsyncClient(transport=transport, base_url=self._base) as client:
                return await client.request(method, path, **more)
        return asyncio.run(whole())

    def look(self) -> None:
        """Look at the store once, as the page does all the time."""
        self._app.state.web.feed.look()

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Return the answer to POST."""
        return self.request("POST", path, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Return the answer to GET."""
        return self.request("GET", path, **more)

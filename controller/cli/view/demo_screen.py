"""What the demo shows while it plays: both sites side by side, or one line per event."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from rich.columns import Columns
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from controller.model.facts import DomainState, Known, NodeFacts, Unknown

if TYPE_CHECKING:
    from controller.reconcile.rehearsal import Rehearsal

FRAMES_PER_S: Final = 10.0
EVENTS: Final = 7
WORTH_A_LINE: Final = frozenset({"act", "fault", "mended", "healed", "failed", "outcome",
                                 "observed", "refused", "order", "failover"})
STYLES: Final = {"act": "bold", "fault": "bold red", "mended": "yellow", "healed": "bold green",
                 "failed": "bold white on red", "outcome": "green", "refused": "dark_orange",
                 "observed": "cyan", "order": "bold magenta", "failover": "magenta"}
BAR: Final = 8


class Stage(Protocol):
    """Shows a rehearsal."""

    def say(self, kind: str, text: str) -> None:
        """Take one event."""
        ...

    def showing(self, rehearsal: "Rehearsal") -> AbstractAsyncContextManager[None]:
        """Show the rehearsal while the context lasts."""
        ...


class Silent:
    """Shows nothing: for `--json`."""

    def say(self, kind: str, text: str) -> None:
        """Keep silent."""

    @asynccontextmanager
    async def showing(self, rehearsal: "Rehearsal") -> AsyncIterator[None]:
        """Show nothing."""
        yield


class Plain:
    """One line per event, for pipes and logs."""

    def __init__(self, shell: Console) -> None:
        self._shell = shell

    def say(self, kind: str, text: str) -> None:
        """Print what is worth a line."""
        if kind in WORTH_A_LINE:
            now_s = asyncio.get_running_loop().time()
            self._shell.print(f"{now_s:8.2f}  {kind:<8}  {text}")

    @asynccontextmanager
    async def showing(self, rehearsal: "Rehearsal") -> AsyncIterator[None]:
        """Show nothing beside the lines."""
        yield


class Screen:
    """Both sites side by side, redrawn ten times a second."""

    def __init__(self, shell: Console, speed: float) -> None:
        self._shell = shell
        self._pause_s = max(speed, 20.0) / FRAMES_PER_S
        self._happened: deque[tuple[float, str, str]] = deque(maxlen=EVENTS)
        self._act = ""

    def say(self, kind: str, text: str) -> None:
        """Keep what is worth showing."""
        if kind == "act":
            self._act = text
        if kind in WORTH_A_LINE:
            self._happened.append((asyncio.get_running_loop().time(), kind, text))

    @asynccontextmanager
    async def showing(self, rehearsal: "Rehearsal") -> AsyncIterator[None]:
        """Redraw until the context ends."""
        with Live(console=self._shell, auto_refresh=False, screen=False, transient=True) as live:
            drawing = asyncio.create_task(self._draw_on(live, rehearsal))
            try:
                yield
            finally:
                drawing.cancel()
                await asyncio.gather(drawing, return_exceptions=True)

    async def _draw_on(self, live: Live, rehearsal: "Rehearsal") -> None:
        while True:
            live.update(self.draw(rehearsal), refresh=True)
            await asyncio.sleep(self._pause_s)

    def draw(self, rehearsal: "Rehearsal") -> Group:
        """Return the whole screen."""
        healed = sum(scene.healed for scene in rehearsal.scenes)
        head = Text.assemble((" hotsite demo ", "bold reverse"), f"  {rehearsal.now_s():6.1f} s   ",
                             (self._act, "bold"), (f"   {healed} healed", "green"))
        sites = [site_panel(site, rehearsal, self._shell.width // 2 - 1)
                 for site in sorted(rehearsal.desired.sites, reverse=True)]
        lines = Text("\n").join(
            Text(f"{at:7.1f}  {text}", STYLES.get(kind, ""), no_wrap=True, overflow="ellipsis")
            for at, kind, text in self._happened)
        return Group(head, Columns(sites, padding=0), links_line(rehearsal), lines)


def site_panel(site: str, rehearsal: "Rehearsal", width: int) -> Panel:
    """Return one site: its hosts with memory and VMs."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for name in sorted(rehearsal.desired.hosts):
        if rehearsal.desired.hosts[name].spec.site == site:
            table.add_row(*host_row(name, rehearsal))
    return Panel(table, title=site, width=width, padding=(0, 1))


def host_row(name: str, rehearsal: "Rehearsal") -> tuple[Text, Text, Text]:
    """Return a host's name, how full it is, and its VMs as last seen."""
    fact = rehearsal.loop.observed.nodes.get(name)
    short = name.rpartition("-")[2]
    if isinstance(fact, Known):
        return Text(short, "bold"), memory_bar(fact.value), guests(fact.value, "")
    last = fact.last if isinstance(fact, Unknown) else None
    seen = guests(last, "dim magenta") if last is not None else Text("never seen", "dim")
    return Text(short, "bold magenta"), Text("silent".ljust(BAR + 4), "magenta"), seen


def memory_bar(facts: NodeFacts) -> Text:
    """Return how much of a host's memory its guests take, and its load."""
    if not isinstance(facts.hardware, Known):
        return Text(" " * BAR)
    hardware = facts.hardware.value
    used = 1 - hardware.memory_available_bytes / hardware.memory_bytes
    full = round(used * BAR)
    style = "red" if used > 0.9 else "yellow" if used > 0.75 else "green"
    return Text.assemble(("█" * full, style), ("░" * (BAR - full), "dim"),
                         (f" {hardware.load_1m:3.1f}", "dim"))


def guests(facts: NodeFacts, style: str) -> Text:
    """Return the VMs of a host, coloured by what they do."""
    domains = facts.domains.value if isinstance(facts.domains, Known) else None
    if domains is None and isinstance(facts.domains, Unknown):
        domains, style = facts.domains.last or {}, "dim magenta"
    text = Text()
    for name in sorted(domains or {}):
        domain = (domains or {})[name]
        colour = {DomainState.RUNNING: "green", DomainState.SHUT_OFF: "red"}.get(
            domain.state, "yellow")
        text.append(f"{name.partition('-')[2] or name} ", style or colour)
    return text


def links_line(rehearsal: "Rehearsal") -> Text:
    """Return the state of the inter-site links in one line."""
    conditions = rehearsal.loop.plan.conditions if rehearsal.loop.plan is not None else ()
    text = Text(" ")
    for one in conditions:
        if one.target.startswith("InterSiteLink/"):
            well = one.status == "true" and "degraded" not in one.message
            text.append(f"{one.target.partition('/')[2]}: {one.message} ",
                        "green" if well else "dark_orange")
    return text

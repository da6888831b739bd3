"""`hotsite run`: the control loop, until it is stopped."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import State, complain, errors_reported, manager_of, wait_for

if TYPE_CHECKING:
    from controller.reconcile.loop import Loop
    from controller.reconcile.manager import Manager
    from controller.reconcile.report.event import Event


def command(
    context: typer.Context,
    source: Annotated[str, typer.Argument(
        metavar="SOURCE", help="A folder of specs, or git+ssh://HOST/REPOSITORY#BRANCH.")],
    metrics: Annotated[str | None, typer.Option(
        "--metrics", metavar="ADDRESS", show_default=False,
        help="Serve Prometheus metrics there: 127.0.0.1:9464.")] = None,
    standby: Annotated[bool, typer.Option(
        "--standby", help="Act only once the controller that conducts is gone.")] = False,
    place: Annotated[str | None, typer.Option(
        "--place", metavar="NAME", show_default=False, help="Where this controller stands: a site,"
        " or the place of a witness.")] = None,
    web: Annotated[str | None, typer.Option(
        "--web", metavar="ADDRESS", show_default=False,
        help="Serve the page there, too: 127.0.0.1:8765.")] = None,
    hook_secret: Annotated[Path | None, typer.Option(
        "--hook-secret", metavar="FILE", show_default=False,
        help="The secret of a forge's webhook to the page of --web.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Log one JSON object per line.")] = False,
    state: State = None,
) -> None:
    """Keep the estate as the specs say, until stopped.

    Drift is healed as far as the declared autonomy goes; everything beyond it is shown and waits
    for `approve`. Edits of the specs take effect at once. Specs that are wrong change nothing: the
    last good ones stay in force. SIGTERM lets running actions finish; a second one does not.

    Where the specs declare a lease, only the controller that has it acts; any other looks on and
    takes it once it runs out. Of two, start one with `--standby`: it prefers the other.

    For a failover by itself two places must agree that a site is gone: `--place` says at which one
    this controller stands, so that its view and a witness's beside it count as one.

    `--web` starts `hotsite web` beside the loop, as a process of its own, and again if it ends.

    Examples: `hotsite run specs/`, `hotsite run git+ssh://git@host/estate.git#main`,
    `hotsite run --standby specs/`.

    Exit status: 0 stopped, 1 the journal cannot be used, 4 the specs are wrong at the start.
    """
    with errors_reported(as_json=as_json):
        if hook_secret is not None and web is None:
            raise typer.BadParameter("--hook-secret needs --web: the page takes the webhooks")
        wait_for(keep(manager_of(context, state), source, metrics, standby=standby, place=place,
                      web=web, hook_secret=hook_secret, as_json=as_json))


async def keep(manager: "Manager", source: str, metrics: str | None, *, standby: bool = False,
               place: str | None = None, web: str | None = None,
               hook_secret: Path | None = None, as_json: bool) -> None:
    """Run the loop until SIGTERM or SIGINT stops it."""
    import asyncio  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from controller.cli.page.child import argv_of, keep_page  # noqa: PLC0415
    from controller.cli.view.log import describe_event, event_json  # noqa: PLC0415
    from controller.telemetry.service import Service  # noqa: PLC0415

    def log(event: "Event") -> None:
        """Write one line."""
        sys.stdout.write((event_json(event) if as_json else describe_event(event)) + "\n")
        sys.stdout.flush()

    service = Service(os.environ)
    pages: list[asyncio.Task[None]] = []

    def started(loop: "Loop") -> None:
        """Let signals end the loop, and the service manager know of its decisions."""
        def stop() -> None:
            """Let running actions end."""
            service.stopping()
            loop.stop()

        loop.decided = service.decided
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)
        service.ready()
        if web is not None:
            pages.append(asyncio.create_task(keep_page(
                argv_of(web, manager.state, hook_secret), complain)))

    try:
        await manager.run(source, listen=log, started=started, metrics=metrics,
                          standby=standby, place=place)
    finally:
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)

"""`hotsite web`: the estate on one page, for browsers on this machine."""

from typing import Annotated

import typer

from controller.cli.shared import State, errors_reported, manager_of, wait_for


def command(
    context: typer.Context,
    listen: Annotated[str, typer.Option(
        "--listen", metavar="ADDRESS", help="Where it is served; loopback only.",
    )] = "127.0.0.1:8765",
    state: State = None,
) -> None:
    """Serve a page that shows the estate as the loop sees it, and whether it could lose a site.

    It is a process of its own that only reads the state folder: it contacts no host, changes
    nothing, and neither delays nor ends the loop. The same as JSON is below /api/v1, described by
    /api/v1/openapi.json.

    It listens on loopback alone. From elsewhere: `ssh -L 8765:127.0.0.1:8765 CONTROLLER`.

    Examples: `hotsite web`, `hotsite web --listen 127.0.0.1:9000`.

    Exit status: 0 stopped, 1 it cannot be served, 4 the address is not understood, 5 there is no
    state folder.
    """
    with errors_reported(as_json=False):
        from controller.errors import SourceUnavailable  # noqa: PLC0415
        from controller.web.server import parse_listen, serve  # noqa: PLC0415  # slow to load

        host, port = parse_listen(listen)
        manager = manager_of(context, state)
        if not manager.state.exists():
            raise SourceUnavailable(f"there is no state folder {manager.state}: start"
                                    " `hotsite run`, or name its folder with --state")
        store = manager.open_store()
        try:
            typer.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
            wait_for(serve(store, host, port))
        finally:
            store.close()

"""`hotsite web`: the estate on one page, for browsers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli.shared import State, errors_reported, manager_of, wait_for

if TYPE_CHECKING:
    from controller.reconcile.manager import Manager
    from controller.store.store import Store
    from controller.web.hooks import Hooks

TOKENS = "web-tokens"
"""The file of persons, in the state folder."""
Proxies = Annotated[list[str] | None, typer.Option(
    "--trust-from", metavar="CIDR", show_default=False,
    help="An address of that proxy; may be repeated.")]
Secret = Annotated[Path | None, typer.Option(
    "--hook-secret", metavar="FILE", show_default=False,
    help="The secret of a forge's webhook to /hooks/git; only its owner may read it.")]


def command(
    context: typer.Context,
    listen: Annotated[str, typer.Option(
        "--listen", metavar="ADDRESS", help="Where it is served.")] = "127.0.0.1:8765",
    names: Annotated[list[str] | None, typer.Option(
        "--name", metavar="HOST", show_default=False,
        help="A name that the page has, as in its address; may be repeated.")] = None,
    cert: Annotated[Path | None, typer.Option(
        "--tls-cert", metavar="FILE", show_default=False, help="Its certificate.")] = None,
    key: Annotated[Path | None, typer.Option(
        "--tls-key", metavar="FILE", show_default=False, help="The key to it.")] = None,
    header: Annotated[str, typer.Option(
        "--trust-header", metavar="HEADER", show_default=False,
        help="The header in which a proxy says who asks: X-Remote-User.")] = "",
    proxies: Proxies = None,
    secret: Secret = None,
    state: State = None,
) -> None:
    """Serve a page that shows the estate as the loop sees it, and whether it could lose a site.

    It is a process of its own over the state folder: it contacts no host, and neither delays nor
    ends the loop. The same as JSON is below /api/v1, described by /api/v1/openapi.json.

    It listens on loopback, where every account of this machine may read it. Whoever is to approve,
    suspend or order copies there signs in with a token, which `hotsite web-token` makes; each act
    is in the journal with that name. From elsewhere: `ssh -L 8765:127.0.0.1:8765 CONTROLLER`.

    Beyond loopback it takes a certificate, and persons: tokens, or a proxy that has signed them in
    and says who they are. What such a person may do beyond reading says `hotsite web-token`.

    With --hook-secret a forge's webhook (GitHub, Gitea, Forgejo, GitLab) has the branch looked at
    at once. It does nothing else: what may be put in force is judged as ever.

    Examples: `hotsite web`, `hotsite web --listen 10.0.0.5:443 --name desk.example.net --tls-cert
    desk.pem --tls-key desk.key`.

    Exit status: 0 stopped, 1 it cannot be served, 4 an option is not understood, 5 there is no
    state folder.
    """
    with errors_reported(as_json=False):
        from controller.errors import SourceUnavailable  # noqa: PLC0415
        from controller.web.access.tokens import Tokens  # noqa: PLC0415
        from controller.web.server import parse_listen, rules_of, serve  # noqa: PLC0415

        host, port = parse_listen(listen)
        tls = pair_of(cert, key)
        manager = manager_of(context, state)
        if not manager.state.exists():
            raise SourceUnavailable(f"there is no state folder {manager.state}: start `hotsite"
                                    " run`, or name its folder with --state")
        rules = rules_of(host, Tokens(manager.state / TOKENS), names or (), tls=tls is not None,
                         proxy_header=header, proxies=proxies or ())
        store = manager.open_store()
        try:
            hooks = hooks_of(secret, manager, store) if secret is not None else None
            typer.echo(f"http{'s' * bool(tls)}://{f'[{host}]' if ':' in host else host}:{port}/")
            wait_for(serve(store, host, port, rules, tls, hooks))
        finally:
            store.close()


def pair_of(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    """Return certificate and key; None where there are none.

    Errors: SpecError for one without the other.
    """
    from controller.errors import SpecError  # noqa: PLC0415  # keeps --help quick

    if (cert is None) != (key is None):
        raise SpecError(("--tls-cert and --tls-key go together",))
    return (cert, key) if cert is not None and key is not None else None


def hooks_of(secret: Path, manager: "Manager", store: "Store") -> "Hooks":
    """Return what judges webhooks.

    Errors: SpecError if the file of the secret cannot be used.
    """
    from controller.web.hooks import Hooks, read_secret  # noqa: PLC0415  # keeps --help quick

    read_secret(secret)
    return Hooks(secret, manager.state, store, manager.clock)

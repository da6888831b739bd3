"""`hotsite web-token`: who may do what on the page."""

from typing import Annotated

import typer

from controller.cli.shared import State, complain, errors_reported, manager_of


def command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who it is.")],
    rights: Annotated[list[str] | None, typer.Option(
        "--right", metavar="RIGHT", show_default=False,
        help="read, act, approve or failover; may be repeated. read alone by default.")] = None,
    proxy: Annotated[bool, typer.Option(
        "--by-proxy", help="No token: a trusted proxy says that it is this person.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the person out instead.")] = False,
    state: State = None,
) -> None:
    """Let a person use the page, and print a token that is shown this once.

    Each right stands alone, and reading is always with it: act pauses, resumes and orders copies;
    approve says yes to what waits; failover orders a failover of what is lost. A new token of the
    same name ends the old one, and every sign-in with it.

    Only a hash is kept, in the file web-tokens of the state folder, readable by its owner alone. A
    running page reads it anew by itself.

    Examples: `hotsite web-token ann --right act --right approve`, `hotsite web-token ann --revoke`.

    Exit status: 0 done, 1 there is no such person to take out, 4 a word is not understood, 5 there
    is no state folder.
    """
    from controller.cli.page.web import TOKENS  # noqa: PLC0415  # keeps --help quick
    from controller.errors import SourceUnavailable, SpecError  # noqa: PLC0415
    from controller.web.access.tokens import Right, Tokens  # noqa: PLC0415

    with errors_reported():
        manager = manager_of(context, state)
        if not manager.state.exists():
            raise SourceUnavailable(f"there is no state folder {manager.state}: start"
                                    " `hotsite run`, or name its folder with --state")
        tokens = Tokens(manager.state / TOKENS)
        if revoke:
            if not tokens.remove(name):
                complain(f"nobody is named {name}")
                raise typer.Exit(1)
            typer.echo(f"{name} is taken out")
            return
        wrong = sorted(set(rights or ()) - {one.value for one in Right})
        if wrong:
            raise SpecError((f"{wrong[0]} is no right: write read, act, approve or failover",))
        token = tokens.add(name, frozenset({Right.READ, *map(Right, rights or ())}), proxy=proxy)
        typer.echo(token or f"{name} may do so when the proxy says that it is {name}")

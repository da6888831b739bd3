"""`hotsite sudoers`: the sudoers file for hosts where the controller's account is not root."""

from typing import Annotated

import typer


def command(
    user: Annotated[str, typer.Option("--user", metavar="NAME",
                                      help="The account that the controller logs in as.")
                    ] = "hotsite",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the sudoers file for hosts where the controller logs in as another account than root.

    It allows one fixed command without a password, and that one starts everything: the account can
    become root by it, and its key is worth as much as root's. Nothing narrower would hold, since
    who may define a VM can become root. Nothing is contacted or changed.

    Examples: `hotsite sudoers --user hotsite >hotsite.sudoers`, then on each host as root
    `visudo -cf hotsite.sudoers && install -m 0440 hotsite.sudoers /etc/sudoers.d/hotsite`.

    Exit status: 0 printed, 1 that cannot be the name of an account.
    """
    import json  # noqa: PLC0415  # keeps --help quick
    import re  # noqa: PLC0415

    from controller.transport.sudoers import PATH, render_sudoers  # noqa: PLC0415

    if not re.fullmatch(r"[a-z_][a-z0-9_.-]{0,31}", user):
        typer.echo(f"{user!r} cannot be written into sudoers as the name of an account: use one of"
                   " small letters, digits, `_`, `.` and `-`", err=True)
        raise typer.Exit(1)
    text = render_sudoers(user)
    typer.echo(json.dumps({"path": PATH, "text": text}) if as_json else text, nl=as_json)

"""`hotsite import`: specs for what runs already, on which the first plan is empty."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from controller.cli.adoption.targets import (
    default_known_hosts,
    readable_key,
    sites_of,
    targets_of,
)
from controller.cli.shared import Json, errors_reported, manager_of, wait_for

if TYPE_CHECKING:
    from controller.adoption.reading import Request
    from controller.adoption.sites import SiteGuess
    from controller.reconcile.importing import Imported, Target
    from controller.reconcile.manager import Manager

OTHER_FILES: Final = (Path("~/.ssh/known_hosts"), Path("/etc/ssh/ssh_known_hosts"))


def command(
    context: typer.Context,
    hosts: Annotated[list[str], typer.Argument(
        metavar="[USER@]HOST[:PORT]...", help="The hosts, each by a name or an address.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of specs.")
                   ] = Path("estate"),
    site: Annotated[list[str] | None, typer.Option(
        "--site", metavar="NAME[=HOST,HOST]", show_default=False,
        help="Where the hosts are; may be repeated. Else: by subnet.")] = None,
    name: Annotated[str, typer.Option("--name", help="What the estate is called.")] = "estate",
    user: Annotated[str, typer.Option("--user", help="The account to log in with.")] = "root",
    port: Annotated[int, typer.Option("--port", help="The port of sshd.")] = 22,
    key: Annotated[Path | None, typer.Option(
        "--key", metavar="FILE", show_default=False,
        help="The private key to log in with.")] = None,
    known_hosts: Annotated[Path | None, typer.Option(
        "--known-hosts", metavar="FILE", show_default=False,
        help="The host keys to log in by; believed ones are added.")] = None,
    fingerprint: Annotated[list[str] | None, typer.Option(
        "--fingerprint", metavar="[HOST=]SHA256:...", show_default=False,
        help="A host key that is believed; may be repeated.")] = None,
    yes: Annotated[bool, typer.Option(
        "--yes", help="Ask nothing about sites. It never confirms a host key.")] = False,
    as_json: Json = False,
) -> None:
    """Write specs for what runs already on hosts: nothing is changed there.

    A host key is believed if a file of known hosts has it, if its fingerprint is given, or if a
    person at the terminal says so. Each host is looked at once. The folder says `manage: observe`:
    everything is shown and nothing is done. It is there only once it is valid and the plan on it is
    empty. A folder that is there already is left as it is: what is new is printed as a patch.

    Examples: `hotsite import kvm1 kvm2 kvm3 --out estate`,
    `hotsite import root@10.0.0.11 --site paris --fingerprint SHA256:...`,
    `hotsite import kvm1 kvm4 --out estate | patch -p1 -d estate`.

    Exit status: 0 written, or nothing new, 1 failed, 2 the plan is not empty, or a patch is
    proposed, 3 a host key is not believed, 4 the specs are invalid, 5 not everything was seen.
    """
    from controller.adoption.reading import Login, Request  # noqa: PLC0415  # keeps --help quick
    from controller.cli.adoption.confirm import fingerprints_of  # noqa: PLC0415
    from controller.cli.adoption.report import tell  # noqa: PLC0415

    with errors_reported(as_json=as_json):
        targets = targets_of(hosts)
        login = Login(user, readable_key(key),
                      str((known_hosts or default_known_hosts()).expanduser().absolute()), port)
        request = Request(name, login, sites_of(site or [], targets))
        result = wait_for(run(manager_of(context, None), targets, request, out.absolute(),
                              fingerprints_of(fingerprint or [], targets),
                              ask=not yes and not as_json))
        if isinstance(result, int):
            raise typer.Exit(result)
        tell(result, out, as_json=as_json)
        raise typer.Exit(result.status.value)


async def run(manager: "Manager", targets: "list[Target]", request: "Request", folder: Path,
              fingerprints: dict[str, set[str]], *, ask: bool) -> "Imported | int":
    """Settle the host keys, then import; return an exit status where a key is not believed."""
    from controller.cli.adoption.confirm import settle  # noqa: PLC0415
    from controller.providers.linux.estate import begins_with_sudo  # noqa: PLC0415
    from controller.reconcile.host_keys import look_at_keys  # noqa: PLC0415
    from controller.transport.base import Endpoint  # noqa: PLC0415

    login = request.login
    endpoints = tuple(Endpoint(one.asked, one.address, one.port or login.port, user,
                               login.key_file, login.known_hosts, sudo=begins_with_sudo(user))
                      for one in targets for user in [one.user or login.user])
    others = [path.expanduser() for path in OTHER_FILES]
    async with manager.importing(endpoints, folder) as one:
        findings = await look_at_keys(one.reader, endpoints, others, fingerprints)
        settled = settle(findings, Path(login.known_hosts))
        if settled.status is not None:
            return settled.status
        there = [target for target in targets if target.asked not in settled.silent]
        return await one.run(there, request, findings, tuple(settled.silent.values()),
                             ask_for_site if ask and can_answer() else keep_name)


def keep_name(guess: "SiteGuess") -> str:
    """Return the name that a site was given."""
    return guess.name


def ask_for_site(guess: "SiteGuess") -> str:
    """Return what a person calls a site."""
    from controller.adoption.names import fits  # noqa: PLC0415

    while True:
        said: str = typer.prompt(f"{', '.join(guess.hosts)} ({guess.reason}): what is this site"
                                 " called?", default=guess.name, err=True)
        if fits(said.strip()):
            return said.strip()
        typer.echo("A name has small letters, digits, dots and dashes.", err=True)


def can_answer() -> bool:
    """Return whether a person is at the terminal."""
    return os.isatty(0)

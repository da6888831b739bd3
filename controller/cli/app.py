"""The command `hotsite`: its verbs, and the exit status of wrong usage."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Final

import typer

from controller.cli import break_glass, replica

MODULES: Final = {
    "controller.cli.validate": "Check specs and name everything that is wrong with them.",
    "controller.cli.adoption.import_": "Write specs for what runs already; change nothing.",
    "controller.cli.adoption.doctor": "Say what is wrong on hosts, and how to mend it.",
    "controller.cli.plan": "Show what would change, and why; do nothing.",
    "controller.cli.apply": "Make the estate as the specs say, once.",
    "controller.cli.run": "Keep the estate as the specs say.",
    "controller.cli.status": "Show the state of the estate and of the loop.",
    "controller.cli.page.web": "Show the estate on one page, for browsers.",
    "controller.cli.page.web_token": "Let a person act on the page, by a token.",
    "controller.cli.takeover.lease": "Show which of several controllers conducts.",
    "controller.cli.get": "Show what was last seen, with its age.",
    "controller.cli.explain": "Show why an object is as it is.",
    "controller.cli.events": "Show what was done, refused and found.",
    "controller.cli.suspend": "Pause healing of an object, for a while.",
    "controller.cli.resume": "End a pause.",
    "controller.cli.approve": "Let the loop do one action it may not do alone.",
    "controller.cli.takeover.failover": "Start the VMs of a lost site or host elsewhere.",
    "controller.cli.takeover.failback": "Move VMs back to where they are declared.",
    "controller.cli.takeover.drill": "Start a restore point apart, and see whether it serves.",
    "controller.cli.takeover.fence": "Cut the power of a host by its BMC, and prove it.",
    "controller.cli.takeover.confirm_fenced": "Say that a silent host is surely off.",
    "controller.cli.install.notify_test": "Try whether people can be told what is wrong.",
    "controller.cli.install.sudoers": "Print the sudoers file for an account that is not root.",
    "controller.cli.install.systemd": "Print or install the unit, completion and manual page.",
    "controller.cli.install.uninstall": "Take everything of ours off the hosts; VMs run on.",
    "controller.cli.install.save_state": "Copy the journal to a file, beside a running loop.",
    "controller.cli.install.restore_state": "Put a copy of the journal back.",
    "controller.cli.schema": "Write the JSON schemas of the specs.",
    "controller.cli.takeover.simulate": "Show what losses of your sites and hosts come to.",
    "controller.cli.demo": "Watch faults strike a simulated estate, and the loop heal it.",
}
"""Where each verb lives, and its line in the list of all."""
VERBS: Final = {name.rpartition(".")[2].rstrip("_").replace("_", "-"): short
                for name, short in MODULES.items()}
USAGE_ERROR: Final = next(base for base in typer.BadParameter.__mro__
                          if base.__name__ == "ClickException" and issubclass(base, Exception))
HELP: Final = """Keep a two-site KVM estate able to survive the loss of a site.

Sites, networks, hosts and VMs are declared in YAML; `plan` shows what differs from them, `apply`
does it once, `run` keeps it so.

Exit status of every verb: 0 converged or done, 1 failed, 2 changes pending, 3 refused by a gate,
4 invalid spec, 5 could not observe enough to say.
"""


def build() -> typer.Typer:
    """Return the command line with every verb; each verb loads what it needs when it runs."""
    app = typer.Typer(name="hotsite", help=HELP, rich_markup_mode=None, no_args_is_help=True,
                      add_completion=False, pretty_exceptions_enable=False,
                      context_settings={"help_option_names": ["--help", "-h"],
                                        "max_content_width": 100})
    app.callback()(top)
    for name, (verb, short) in zip(MODULES, VERBS.items(), strict=True):
        command: Callable[..., None] = import_module(name).command
        app.command(verb, short_help=short)(command)
    app.add_typer(replica.group())
    app.add_typer(break_glass.group())
    return app


def version(value: bool) -> None:
    """Print the version and end."""
    if value:
        from controller import __version__  # noqa: PLC0415

        typer.echo(f"hotsite {__version__}")
        raise typer.Exit


def top(
    show_version: Annotated[bool, typer.Option("--version", callback=version, is_eager=True,
                                               help="Print the version.")] = False,
) -> None:
    """Take the options that stand before the verb."""
    assert not show_version, "its callback has ended the program"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; wrong usage exits with 1, because 2 means changes pending."""
    command = typer.main.get_command(build())
    try:
        code = command.main(arguments, prog_name="hotsite", standalone_mode=False)
    except USAGE_ERROR as error:
        getattr(error, "show", lambda: None)()
        code = 1
    except typer.Abort:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)

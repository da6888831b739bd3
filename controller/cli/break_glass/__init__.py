"""`hotsite break-glass`: change the estate while git is down, for a while."""

from importlib import import_module
from typing import Final

import typer

MODULES: Final = {
    "controller.cli.break_glass.copy": "Write the specs in force into a new folder, to be edited.",
    "controller.cli.break_glass.show": "Show what is in force over git, or print it as a patch.",
    "controller.cli.break_glass.end": "Go back to git now.",
}
"""Where each verb lives, and its line in the list of all."""


def group() -> typer.Typer:
    """Return the verbs about break-glass."""
    app = typer.Typer(name="break-glass", rich_markup_mode=None, no_args_is_help=True,
                      help="Change the estate while git is down: copy the specs in force, edit"
                      " them, and put them in force by `hotsite apply FOLDER --break-glass WHY`.")
    for name, short in MODULES.items():
        app.command(name.rpartition(".")[2], short_help=short)(import_module(name).command)
    return app

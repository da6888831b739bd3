"""`hotsite replica`: shows the replicas, and does by hand what the loop does by itself."""

from importlib import import_module
from typing import Final

import typer

MODULES: Final = {
    "controller.cli.replica.list": "Show every replica with its newest point and its health.",
    "controller.cli.replica.show": "Show one VM's restore points.",
    "controller.cli.replica.copy": "Make the next restore point now.",
    "controller.cli.replica.seed": "Make the first copy, or compare all of it with the source.",
    "controller.cli.replica.verify": "Verify a replica against its hashes now.",
    "controller.cli.replica.repair": "Send the damaged parts of a replica again.",
    "controller.cli.replica.export": "Write a restore point as standalone files.",
    "controller.cli.replica.release": "Let go what an older copy of a VM held.",
}
"""Where each verb lives, and its line in the list of all."""


def group() -> typer.Typer:
    """Return the verbs about replicas."""
    app = typer.Typer(name="replica", rich_markup_mode=None, no_args_is_help=True,
                      help="Show replicas, and do by hand what the loop does by itself.")
    for name, short in MODULES.items():
        app.command(name.rpartition(".")[2], short_help=short)(import_module(name).command)
    return app

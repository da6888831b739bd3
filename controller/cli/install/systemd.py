"""`hotsite systemd`: the unit of the loop, completion for shells, and the manual page."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from controller.cli.shared import FAILED, complain


class Part(StrEnum):
    """What can be printed."""

    UNIT = "unit"
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    MAN = "man"


PLACES: Final[Mapping[Part, str]] = {
    Part.UNIT: "etc/systemd/system/hotsite.service",
    Part.BASH: "usr/local/share/bash-completion/completions/hotsite",
    Part.ZSH: "usr/local/share/zsh/site-functions/_hotsite",
    Part.FISH: "usr/local/share/fish/vendor_completions.d/hotsite.fish",
    Part.MAN: "usr/local/share/man/man1/hotsite.1",
}
OURS: Final = "`hotsite systemd"
"""In the first lines of everything that is written here."""
NEXT: Final = "now: systemctl daemon-reload && systemctl enable --now hotsite"


def command(
    source: Annotated[str, typer.Argument(
        metavar="SOURCE", help="What the unit runs: a folder of specs, or a git address.")
    ] = "/etc/hotsite/specs",
    install: Annotated[bool, typer.Option(
        "--install", help="Write unit, completion and manual page instead of printing.")] = False,
    part: Annotated[Part, typer.Option("--part", help="What to print.")] = Part.UNIT,
    standby: Annotated[bool, typer.Option(
        "--standby", help="The unit runs a controller that waits for the other.")] = False,
    place: Annotated[str | None, typer.Option(
        "--place", metavar="NAME", show_default=False, help="Where that one stands.")] = None,
    root: Annotated[Path, typer.Option(
        "--root", metavar="DIR", help="Install below another folder, for a package.")] = Path("/"),
) -> None:
    """Print the systemd unit that keeps `hotsite run` going, or install it.

    The unit is ready once the specs are in force, and is started again when it has taken no
    decision for three minutes. It has no capabilities and writes nowhere but in /var/lib/hotsite.
    Installing writes five files and starts nothing; a file that somebody else wrote is left alone.

    Examples: `hotsite systemd /etc/hotsite/specs`, `hotsite systemd --install /etc/hotsite/specs`,
    `hotsite systemd --part bash`.

    Exit status: 0 done, 1 a file could not be written, or is somebody else's.
    """
    texts = texts_of(source, standby=standby, place=place)
    if not install:
        typer.echo(texts[part], nl=False)
        return
    failed = False
    for one, text in texts.items():
        path = root / PLACES[one]
        if why := write(path, text):
            complain(f"{path}: {why}")
            failed = True
        else:
            typer.echo(f"{path}: written")
    if failed:
        raise typer.Exit(FAILED)
    typer.echo(NEXT)


def texts_of(source: str, *, standby: bool, place: str | None) -> dict[Part, str]:
    """Return the text of every part."""
    import shutil  # noqa: PLC0415  # keeps --help quick
    import sys  # noqa: PLC0415
    import time  # noqa: PLC0415

    from controller import __version__  # noqa: PLC0415
    from controller.cli.app import HELP, build  # noqa: PLC0415
    from controller.cli.install.completion import (  # noqa: PLC0415
        render_bash,
        render_fish,
        render_zsh,
    )
    from controller.cli.install.manual import render_manual  # noqa: PLC0415
    from controller.cli.install.unit import render_unit  # noqa: PLC0415
    from controller.cli.install.verbs import verbs_of  # noqa: PLC0415

    here = Path(sys.argv[0])
    found = str(here.absolute()) if here.name == "hotsite" else shutil.which("hotsite")
    where = source if "://" in source else str(Path(source).absolute())
    verbs = tuple(verbs_of(typer.main.get_command(build())))
    return {
        Part.UNIT: render_unit(found or "/usr/local/bin/hotsite", where, standby=standby,
                               place=place),
        Part.BASH: render_bash(verbs), Part.ZSH: render_zsh(verbs), Part.FISH: render_fish(verbs),
        Part.MAN: render_manual(verbs, HELP, __version__, time.strftime("%Y-%m-%d")),
    }


def write(path: Path, text: str) -> str:
    """Write one file, whole or not at all; return why not, or nothing."""
    import os  # noqa: PLC0415

    try:
        if path.exists() and OURS not in path.read_text(encoding="utf-8", errors="replace")[:400]:
            return "it is there and not ours: it is left alone"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)
        os.replace(part, path)  # noqa: PTH105
    except OSError as error:
        return f"it cannot be written ({error.strerror}): run this as root"
    return ""

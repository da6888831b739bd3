"""The manual page hotsite(1), made of the help of every verb."""

import re
import textwrap
from typing import Final

from controller.cli.install.verbs import OptionText, VerbText

WIDTH: Final = 78
HEAD: Final = """\
.\\" hotsite(1), printed by `hotsite systemd --part man`
.TH HOTSITE 1 {date} "hotsite {version}" "User Commands"
.SH NAME
hotsite \\- keep a two-site KVM estate able to survive the loss of a site
.SH SYNOPSIS
.B hotsite
.I VERB
[\\fIARGUMENTS\\fR] [\\fIOPTIONS\\fR]
.SH DESCRIPTION
"""
FILES: Final = """\
.SH FILES
.TP
.I /var/lib/hotsite
The state of a controller that root runs: its journal, pauses and approvals.
.I ~/.local/state/hotsite
is used by other accounts.
.TP
.I /etc/sudoers.d/hotsite
On hosts, where the controller logs in as another account than root: see
.BR "hotsite sudoers" .
.TP
.I /run/hotsite
.TQ
.I /var/lib/hotsite
On hosts: programs while they are needed, and which controller conducts.
.SH ENVIRONMENT
.TP
.B HOTSITE_STATE
The folder of the state, unless
.B \\-\\-state
names another.
"""


def render_manual(verbs: tuple[VerbText, ...], about: str, version: str, date: str) -> str:
    """Return the page; `about` is the help of the whole program."""
    description, _, statuses = about.partition("Exit status of every verb:")
    return "".join((
        HEAD.format(version=version, date=date), _paragraphs(description),
        ".SH VERBS\n", *map(_verb, verbs),
        ".SH EXIT STATUS\n", _paragraphs(statuses), FILES))


def _verb(verb: VerbText) -> str:
    words = " ".join(verb.words)
    usage = "".join(f"{_italic(word)}\n" for word in verb.arguments)
    return (f'.SS "hotsite {words}"\n.B hotsite {words}\n{usage}[{_italic("OPTIONS")}]\n.PP\n'
            f"{_paragraphs(verb.help)}{''.join(map(_option, verb.options))}")


def _option(option: OptionText) -> str:
    names = ", ".join(map(_bold, option.names))
    takes = f" {_italic(option.takes)}" if option.takes else ""
    return f".TP\n{names}{takes}\n{_line(option.help)}"


def _bold(text: str) -> str:
    return f"\\fB{_plain(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_plain(text)}\\fR"


def _paragraphs(text: str) -> str:
    parts = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    return ".PP\n".join(_line(part) for part in parts)


def _line(text: str) -> str:
    """Return a text as lines of roff, one sentence each, as roff wants them."""
    sentences = re.sub(r"(?<=[.;:])\s+", "\n", _plain(" ".join(text.split())))
    lines = [line for sentence in sentences.split("\n") for line in textwrap.wrap(
        sentence, WIDTH, break_long_words=False, break_on_hyphens=False)]
    return "".join(f"\\&{line}\n" if line[:1] in ".'" else f"{line}\n" for line in lines)


def _plain(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")

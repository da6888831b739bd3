"""The verbs as values, read from the command line itself, for completion and the manual page."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple


class OptionText(NamedTuple):
    """One option: its names, what it takes (empty: nothing), and its help."""

    names: tuple[str, ...]
    takes: str
    help: str


class VerbText(NamedTuple):
    """One verb: its words, its arguments, its line in the list of all, its help, its options."""

    words: tuple[str, ...]
    arguments: tuple[str, ...]
    short: str
    help: str
    options: tuple[OptionText, ...]


HELP = OptionText(("--help", "-h"), "", "Show the help.")


GROUPS: Final = {"replica": "Look after replicas by hand.",
                 "break-glass": "Change the estate while git is down."}
"""What the verbs with a first word of their own are about."""


def verbs_of(group: Any, before: tuple[str, ...] = ()) -> Iterator[VerbText]:
    """Yield each verb of a group of commands, in order, those of groups within it, too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs_of(command, (*before, name))
            continue
        arguments, options = [], [HELP]
        for one in command.params:
            if one.param_type_name == "argument":
                word = one.metavar or one.name.upper()
                arguments.append(word if one.required else f"[{word}]")
            else:
                takes = "" if one.is_flag else one.metavar or "VALUE"
                options.append(OptionText((*one.opts, *one.secondary_opts), takes,
                                          one.help or ""))
        yield VerbText((*before, name), tuple(arguments), command.short_help or "",
                       command.help or "", tuple(options))


def groups_of(verbs: tuple[VerbText, ...]) -> dict[str, list[VerbText]]:
    """Return the verbs that stand below a first word of their own."""
    found: dict[str, list[VerbText]] = {}
    for verb in verbs:
        if len(verb.words) > 1:
            found.setdefault(verb.words[0], []).append(verb)
    return found


def first_words(verbs: tuple[VerbText, ...]) -> dict[str, str]:
    """Return each first word with a line about it."""
    found: dict[str, str] = {}
    for verb in verbs:
        found.setdefault(verb.words[0], verb.short if len(verb.words) == 1 else
                         GROUPS[verb.words[0]])
    return found

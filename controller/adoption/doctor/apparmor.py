"""Which files a profile of AppArmor lets be read, as far as a few lines of it say.

Source: apparmor.d(5), "Globbing": `**` is anything, `*` anything within one folder, `{a,b}` one of
them. A rule that denies stands above one that allows. Lines with variables are left out: they can
only allow more.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

_RULE = re.compile(r'^\s*(?P<deny>(?:audit\s+)?deny\s+)?(?:file\s+)?"?(?P<path>/[^"\s]*)"?\s+'
                   r"(?P<modes>[a-zA-Z]+),")


def may_read(profile: str, path: str) -> bool:
    """Return whether some rule of the profile allows `path` to be read, and none forbids it."""
    rules = _rules(profile)
    return any(rule.fullmatch(path) for deny, rule in rules if not deny) and not any(
        rule.fullmatch(path) for deny, rule in rules if deny)


@lru_cache(maxsize=64)
def _rules(profile: str) -> tuple[tuple[bool, re.Pattern[str]], ...]:
    return tuple(_parsed(profile))


def _parsed(profile: str) -> Iterator[tuple[bool, re.Pattern[str]]]:
    for line in profile.split("\n"):
        found = _RULE.match(line)
        if found is not None and "r" in found["modes"]:
            yield bool(found["deny"]), re.compile(as_pattern(found["path"]))


def as_pattern(glob: str) -> str:
    """Return a glob of AppArmor as a regular expression."""
    parts, depth = [], 0
    for piece in re.findall(r"\*\*|\\.|.", glob):
        if piece == "**":
            parts.append(".*")
        elif piece == "*":
            parts.append("[^/]*")
        elif piece == "?":
            parts.append("[^/]")
        elif piece == "{":
            depth += 1
            parts.append("(?:")
        elif piece == "}" and depth:
            depth -= 1
            parts.append(")")
        elif piece == "," and depth:
            parts.append("|")
        elif piece in "[]-":
            parts.append(piece)
        else:
            parts.append(re.escape(piece.removeprefix("\\")))
    return "".join(parts) + ")" * depth

"""Which rows a search means; the page's own search reads the same words (static/search.js).

    sql prod        each word is a part of the name
    host:esx1       a part of the host, the site, the policy or a network: host: site: policy: net:
    is:late         the level, or off
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Row = Mapping[str, Any]
FIELDS: Final[Mapping[str, Callable[[Row], str]]] = {
    "host": lambda row: str(row.get("host") or ""),
    "site": lambda row: str(row.get("site") or ""),
    "policy": lambda row: str(row.get("policy") or ""),
    "net": lambda row: " ".join(row.get("networks") or ()),
    "is": lambda row: f"{row['level']} {row.get('power') or ''}",
}


def means(row: Row, words: str) -> bool:
    """Return whether a row is meant by all of the words."""
    for word in words.lower().split():
        field, colon, part = word.partition(":")
        if colon and field in FIELDS:
            if part not in FIELDS[field](row).lower():
                return False
        elif word not in str(row["name"]).lower():
            return False
    return True

"""What other machines say, made fit for a terminal: names and sentences may hold anything."""

import re
from typing import Final

_DRIVES: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029"
                            "\u2066-\u2069]")
"""Control characters, which move the cursor or worse, and those that turn the writing around."""


def fit(text: str) -> str:
    """Return a text in which nothing drives the terminal: a question mark stands for what would."""
    return text if text.isprintable() else _DRIVES.sub("?", text)


def fit_json(text: str) -> str:
    """Return JSON that means the same, and in which nothing drives the terminal."""
    return _DRIVES.sub(lambda one: f"\\u{ord(one[0]):04x}", text)

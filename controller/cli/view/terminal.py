"""Text of other machines made safe for a terminal: names and sentences may hold anything."""

import re
from typing import Final

_DRIVES: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029"
                            "\u2066-\u2069]")
"""Control characters, which move the cursor or worse, and those that reverse the text."""


def fit(text: str) -> str:
    """Return the text with a question mark for each character that would control the terminal."""
    return text if text.isprintable() else _DRIVES.sub("?", text)


def fit_json(text: str) -> str:
    """Return JSON that means the same, with such characters escaped."""
    return _DRIVES.sub(lambda one: f"\\u{ord(one[0]):04x}", text)

"""JSON that another machine has said."""

import json
from typing import Any


def parse_json(text: str) -> Any:
    """Return what a text says.

    Errors: JSONDecodeError, a ValueError; also where it is nested deeper than anybody means it.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deeply", text[:20], 0) from error

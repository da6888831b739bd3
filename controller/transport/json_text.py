"""JSON received from another machine."""

import json
from typing import Any


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Errors: JSONDecodeError, a ValueError; also for a text nested too deeply to be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise json.JSONDecodeError("nested too deeply", text[:20], 0) from error

"""
Answer many requests, one after another, so that a host starts one mover for a whole cycle.

Each request is a line {"number", "verb", "request"}; its answer is the line {"number", "answer": …}
or {"number", "failed": {"status", "sentence"}} with the same number. A failed request does not end
the session.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List

from mover.errors import MoverError, Refused
from mover.requests import lines, parse_object
from mover.term import held
from mover.verbs import from_system, say, verb

IN_SESSION = ("authorize", "deauthorize", "replica-make", "replica-show", "incoming-open",
            "incoming-drop", "incoming-settle", "publish", "pin")


def run(words: List[str]) -> None:
    """Answer until stdin ends."""
    requests, out = os.dup(0), sys.stdout.fileno()
    say({"ready": True}, out)
    for line in lines(requests):
        number = None
        try:
            message = parse_object(line)
            number = message.get("number")
            say({"number": number, "answer": _answer(message)}, out)
        except MoverError as error:
            _fail(number, error, out)
        except OSError as error:
            _fail(number, from_system(error), out)


def _answer(message: Dict[str, Any]) -> Any:
    """Run a verb with the request as its stdin, as if it had been started for it alone."""
    name = str(message.get("verb"))
    if name not in IN_SESSION:
        raise Refused("%r is not answered here: use one of %s" % (name, ", ".join(IN_SESSION)))
    with held():
        request = os.memfd_create("hotsite-request")
        try:
            os.write(request, json.dumps(message.get("request", {})).encode() + b"\n")
            os.lseek(request, 0, os.SEEK_SET)
            os.dup2(request, 0)
        finally:
            os.close(request)
        return verb(name)([])


def _fail(number: Any, error: MoverError, out: int) -> None:
    say({"number": number, "failed": {"status": error.status, "sentence": str(error)}}, out)

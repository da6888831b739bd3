"""
Answer one request after another, so that a host starts one mover for a whole cycle.

Each line is {"number", "verb", "request"}; each answer is one line, {"number", "answer": …} or
{"number", "failed": {"status", "sentence"}}, with the number of its question. A failure ends
nothing: what comes next may well be done.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List

from mover.errors import MoverError, Refused
from mover.requests import lines, parse_order
from mover.verbs import from_system, say, verb

ATTENDED = ("authorize", "deauthorize", "replica-make", "replica-show", "incoming-open",
            "incoming-drop", "incoming-settle", "publish", "pin")


def run(words: List[str]) -> None:
    """Answer until no more requests come."""
    orders, out = os.dup(0), sys.stdout.fileno()
    say({"ready": True}, out)
    for line in lines(orders):
        number = None
        try:
            order = parse_order(line)
            number = order.get("number")
            say({"number": number, "answer": _answer(order)}, out)
        except MoverError as error:
            _fail(number, error, out)
        except OSError as error:
            _fail(number, from_system(error), out)


def _answer(order: Dict[str, Any]) -> Any:
    name = str(order.get("verb"))
    if name not in ATTENDED:
        raise Refused("%r is not answered here: use one of %s" % (name, ", ".join(ATTENDED)))
    request = os.memfd_create("hotsite-request")
    try:
        os.write(request, json.dumps(order.get("request", {})).encode() + b"\n")
        os.lseek(request, 0, os.SEEK_SET)
        os.dup2(request, 0)
    finally:
        os.close(request)
    return verb(name)([])


def _fail(number: Any, error: MoverError, out: int) -> None:
    say({"number": number, "failed": {"status": error.status, "sentence": str(error)}}, out)

"""
Answer one request after another, so that a host starts one mover for a whole cycle.

Each line is {"verb", "request"}; each answer is one line, {"answer": …} or {"failed": {"status",
"sentence"}}. A failure ends nothing: what comes next may well be done.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Dict, List

from mover.errors import MoverError, Refused
from mover.orders import lines, parse_order
from mover.verbs import from_system, say, verb

ATTENDED = ("authorize", "deauthorize", "replica-make", "replica-show", "incoming-open",
            "incoming-drop", "incoming-settle", "publish", "pin")


def run(words: List[str]) -> None:
    """Answer until no more requests come."""
    orders, out = os.dup(0), sys.stdout.fileno()
    say({"ready": True}, out)
    for line in lines(orders):
        try:
            say({"answer": _answer(parse_order(line))}, out)
        except MoverError as error:
            _fail(error, out)
        except OSError as error:
            _fail(from_system(error), out)


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


def _fail(error: MoverError, out: int) -> None:
    say({"failed": {"status": error.status, "sentence": str(error)}}, out)

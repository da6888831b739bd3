"""Report the algorithms and codecs of this host, so that both ends agree before a transfer."""

from __future__ import annotations

import sys
from typing import Any, Dict, List

from mover.image.hashing import algorithms
from mover.transfer.codec import codecs
from mover.transfer.wire import VERSION


def run(words: List[str]) -> Dict[str, Any]:
    """Return the algorithms and codecs of this host, best first."""
    return {"version": VERSION, "algorithms": algorithms(), "codecs": codecs(),
            "python": "%d.%d" % sys.version_info[:2]}

"""The mover is sent to hosts as data: only its own tests put it where Python finds it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "controller" / "remote"))

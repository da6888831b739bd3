"""The programs that are sent to hosts, importable as their own modules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "controller/remote"))

"""How often something may be done: so many times in a minute for each name."""

from collections import OrderedDict, deque
from typing import Final

SPAN_S: Final = 60.0
NAMES: Final = 1000
"""Names that are remembered; the one that asked longest ago is forgotten first."""


class Limit:
    """Counts, for each name, the last minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, name: str, now_s: float) -> float:
        """Count one, and return 0; where it is too many, return after how long it is not."""
        times = self._times.pop(name, None) or deque()
        self._times[name] = times
        while len(self._times) > NAMES:
            self._times.popitem(last=False)
        while times and now_s - times[0] >= SPAN_S:
            times.popleft()
        if len(times) >= self._most:
            return SPAN_S - (now_s - times[0])
        times.append(now_s)
        return 0.0

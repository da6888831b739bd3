"""Shares: how copies that are under way at once divide what they may take together.

Rule 1: nothing is left over that a copy could take, and nobody gets more while another gets less
        because of it (max-min fairness).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Final, NamedTuple

from controller.plan.actions.replica import RateLimit

UNLIMITED: Final = 0.0
"""As the mover's throttle has it."""
OnRate = Callable[[float], None]
"""Hears, in bits a second, what a copy may take from now on."""


def fair_shares(copies: Mapping[int, Sequence[RateLimit]]) -> dict[int, float]:
    """Return what each copy may take, in bits a second; one without a limit is `UNLIMITED`.

    Where copies tell different rates of one limit, the lowest holds.
    """
    left: dict[str, float] = {}
    for limits in copies.values():
        for limit in limits:
            left[limit.scope] = min(limit.rate_bps, left.get(limit.scope, limit.rate_bps))
    waiting = {copy: {limit.scope for limit in limits} for copy, limits in copies.items()}
    found = {copy: UNLIMITED for copy, scopes in waiting.items() if not scopes}
    while len(found) < len(waiting):
        rest = [copy for copy in waiting if copy not in found]
        sharers = {scope: [copy for copy in rest if scope in waiting[copy]] for scope in left}
        rate, tightest = min((left[scope] / len(among), scope)
                             for scope, among in sharers.items() if among)
        for copy in sharers[tightest]:
            found[copy] = rate
            for scope in waiting[copy]:
                left[scope] = max(0.0, left[scope] - rate)
    return found


class Copy(NamedTuple):
    """A copy that is sending."""

    limits: tuple[RateLimit, ...]
    on_rate: OnRate


class Shares:
    """The copies that are sending now, and what each was told last."""

    def __init__(self) -> None:
        self._numbers = count()
        self._copies: dict[int, Copy] = {}
        self._told: dict[int, float] = {}

    @contextmanager
    def taken(self, limits: tuple[RateLimit, ...], on_rate: OnRate) -> Iterator[None]:
        """Count a copy in while the block lasts; `on_rate` hears its share at once."""
        number = next(self._numbers)
        self._copies[number] = Copy(limits, on_rate)
        try:
            self._divide()
            yield
        finally:
            del self._copies[number]
            self._told.pop(number, None)
            self._divide()

    def _divide(self) -> None:
        """Tell everyone whose share is another now; less goes out before more."""
        shares = fair_shares({number: one.limits for number, one in self._copies.items()})
        changed = {number: rate for number, rate in shares.items()
                   if self._told.get(number) != rate}
        for number, rate in sorted(changed.items(), key=lambda one: one[1]):
            self._told[number] = rate
            self._copies[number].on_rate(rate)

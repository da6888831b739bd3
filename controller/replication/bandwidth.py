"""Shares: how the copies that run at the same time divide their bandwidth limits.

Rule 1: max-min fairness: no bandwidth that a copy could use stays unused, and no copy gets more at
        the cost of one that has less.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Final, NamedTuple

from controller.plan.actions.replica import RateLimit

UNLIMITED: Final = 0.0
"""As the mover's throttle writes it."""
OnRate = Callable[[float], None]
"""Called with a copy's new rate, in bits a second."""


def fair_shares(copies: Mapping[int, Sequence[RateLimit]]) -> dict[int, float]:
    """Return each copy's rate in bits a second; `UNLIMITED` for one without a limit.

    If copies name different rates for one limit, the lowest applies.
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
    """The copies that are sending now, and the rate each one has."""

    def __init__(self) -> None:
        self._numbers = count()
        self._copies: dict[int, Copy] = {}
        self._rates: dict[int, float] = {}

    @contextmanager
    def taken(self, limits: tuple[RateLimit, ...], on_rate: OnRate) -> Iterator[None]:
        """Take part in the division during the block; `on_rate` gets the first rate at once."""
        number = next(self._numbers)
        self._copies[number] = Copy(limits, on_rate)
        try:
            self._divide()
            yield
        finally:
            del self._copies[number]
            self._rates.pop(number, None)
            self._divide()

    def _divide(self) -> None:
        """Pass on every changed rate, the lowest first, so that the limit is never exceeded."""
        shares = fair_shares({number: one.limits for number, one in self._copies.items()})
        changed = {number: rate for number, rate in shares.items()
                   if self._rates.get(number) != rate}
        for number, rate in sorted(changed.items(), key=lambda one: one[1]):
            self._rates[number] = rate
            self._copies[number].on_rate(rate)

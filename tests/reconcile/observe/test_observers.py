"""One poll of one node: any answer becomes a fact, and no other poll ends with it."""

import asyncio
from typing import Any

import pytest

from controller.model.facts import Unknown
from controller.reconcile.observe.observers import observe


class Odd:
    """A provider to which a node says something that makes no sense."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def observe(self, node: str) -> Any:
        """Stumble over the answer."""
        raise self.error


@pytest.mark.parametrize("error", [KeyError("domains"), ValueError("no\nnumber"), TypeError("x")])
def test_an_answer_that_makes_no_sense_is_unknown_and_says_so(error: Exception) -> None:
    provider: Any = Odd(error)
    fact = asyncio.run(observe(provider, "paris-1", lambda: 7.0))
    assert isinstance(fact, Unknown)
    assert fact.since_at == 7.0
    assert fact.reason.startswith("the answer of paris-1 was not understood (")
    assert "\n" not in fact.reason

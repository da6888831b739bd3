"""Chance that can be looked up again: what befalls the n-th message of a way is the same for ever.

The dice of a storm are rolled as things happen, in their order. What befalls messages is dealt from
decks instead, by way and number: so the messages that change nothing need not be played to know
what became of those that do.
"""

from random import Random

SIZE = 1 << 13
MASK = SIZE - 1
LATEST_S = 2.0
"""No message takes longer."""
_DICE = Random("decks")
LATE_S = tuple(0.0 if _DICE.random() < 0.8 else _DICE.uniform(0, LATEST_S) for _ in range(SIZE))
"""How long a message takes: mostly no time that matters."""
SHARES = tuple(_DICE.random() for _ in range(SIZE))

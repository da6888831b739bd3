"""A copy of the state, and the way back from it."""

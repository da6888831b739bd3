"""Leaving an estate: what of ours is taken off its nodes, and in which order."""

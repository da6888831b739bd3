"""The conditions of every object after one decision."""

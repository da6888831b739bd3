"""Storms of the decision on virtual time."""

"""Verbs that take up what runs already."""

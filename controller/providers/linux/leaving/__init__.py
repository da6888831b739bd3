"""Leaving: how guards end, and how what we put on nodes goes."""

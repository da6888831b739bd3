"""Telling people what is wrong, beside the loop."""

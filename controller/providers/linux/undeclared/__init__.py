"""Hosts that no spec declares."""

"""Seeded storms over the simulated estate; the laws are checked after every step."""

"""Seeded storms over the simulated estate; the laws are looked at after every step."""

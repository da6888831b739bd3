"""Bridges, trunks and cards: what differs from the specs, and who uses a VLAN."""

"""Wires: commands to nodes and their replies. Absent: domain words, decisions."""

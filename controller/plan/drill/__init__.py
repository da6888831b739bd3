"""Drills: which restore point is tried out, and how well each VM's replica is proven."""

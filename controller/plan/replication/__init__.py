"""Replicas: which copy is due, where it goes, and which restore points may go."""

"""Benchmarks of taking up what runs already."""

"""Plans as text, JSON and files."""

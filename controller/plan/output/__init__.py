"""Plans as one line, JSON and files."""

"""Domain XML: read safely, made new, and patched where it is managed."""

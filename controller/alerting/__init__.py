"""What of an estate somebody must be told, when, and in which words; sending is done elsewhere."""

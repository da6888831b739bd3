"""The last facts of each node, and when it is asked again."""

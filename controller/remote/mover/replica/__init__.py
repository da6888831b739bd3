"""The target end: a replica's folder, what it receives, its restore points, and their repair."""

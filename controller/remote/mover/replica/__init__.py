"""The target end: a replica's folder, what arrives in it, its restore points, and their repair."""

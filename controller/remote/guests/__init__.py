"""What guests this host can run, and whether those that run serve."""

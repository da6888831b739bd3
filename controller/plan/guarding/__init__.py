"""Guards and grantors: what they are told, whether they run, and what they forbid to start."""

"""Guards and grantors in memory."""

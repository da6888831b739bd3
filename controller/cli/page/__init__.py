"""The page: the estate for browsers."""

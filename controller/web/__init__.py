"""The page and its API: a process of its own over the store, which it only reads."""

"""How nodes are logged in to."""

"""Which host each machine belongs on: bin packing, with the fewest moves."""

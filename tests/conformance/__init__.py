"""One suite for every provider: what the simulator says must be what real hosts say."""

"""Virtual machines: where each one is, what it should be, and what brings it there."""

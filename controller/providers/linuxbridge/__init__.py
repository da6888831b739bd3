"""Linux bridges: seen through iproute2, and changed at run time only."""

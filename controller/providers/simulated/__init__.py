"""An estate in memory with faults; ships, for the demo, for what-if and for tests."""

"""An estate in memory with faults and virtual time: the demo, what-if and the storms run on it."""

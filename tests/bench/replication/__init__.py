"""The cost of replication beside the tools in use today, on real hosts of a lab of its own."""

"""What failover needs to know: its numbers, and what hosts, BMCs and records say."""

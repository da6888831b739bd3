"""What the loop tells: events, status, metrics, the journal."""

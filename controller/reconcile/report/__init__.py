"""What the loop reports: events, status, metrics, exit statuses; and its writing of the journal."""

"""What can be said of every object after one look."""

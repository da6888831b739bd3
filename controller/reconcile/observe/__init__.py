"""What each node last said, and when it is asked again."""

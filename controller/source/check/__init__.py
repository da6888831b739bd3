"""What one document cannot know: that all of them fit together."""

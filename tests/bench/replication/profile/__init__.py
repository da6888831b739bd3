"""Where the time of one cycle goes, as spans and as a diagram."""

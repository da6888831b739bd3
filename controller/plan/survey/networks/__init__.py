"""Where hosts have their networks, and Linux bridges in the words of all others."""

"""Break-glass, in a running loop: put in force over the specs, said, and ended."""

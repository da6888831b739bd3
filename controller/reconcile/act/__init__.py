"""One action from intent to outcome, and the workers that take targets in turn."""

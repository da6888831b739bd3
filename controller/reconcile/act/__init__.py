"""One action from intent to outcome, and the workers that take them in turn."""

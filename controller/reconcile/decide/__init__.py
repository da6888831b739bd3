"""When to plan anew, and everything that a plan depends on besides specs and facts."""

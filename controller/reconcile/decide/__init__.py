"""When to plan anew, and all that a plan depends on besides specs and facts."""

"""The draft, in which diffs put down what they find, and the plan that is made of it."""

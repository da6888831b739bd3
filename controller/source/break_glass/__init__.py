"""Break-glass, in the text of specs: what differs, and how it is laid over a commit."""

"""The verbs for installing the program, and for leaving."""

"""Break-glass: what a person has put in force over the specs."""

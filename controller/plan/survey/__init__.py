"""Specs and facts, indexed once per decision: who is where, who is whose, what counts as seen."""

"""Failover inside a plan: what is seen as a Situation, and the orders of a decision as actions."""

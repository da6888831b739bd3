"""Gateways on simulated switches: what keepalived does there."""

"""Gateways: keepalived on switches, configured and observed."""

"""How fast the operator's page is, and what it costs, in a real Chromium."""

"""Redfish: what a BMC says of its host's power, and cutting it."""

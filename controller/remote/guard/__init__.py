"""The guard of a host and the grantors that it asks; see guarding.py and granting/grantor.py."""

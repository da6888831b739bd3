"""The network of a host: its devices, and what its configuration says of them."""

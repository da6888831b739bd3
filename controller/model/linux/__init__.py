"""Facts of a host that only Linux has words for."""

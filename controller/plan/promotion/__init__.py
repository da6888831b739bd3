"""What a failover would find: where each lost VM comes back, from which point, and what hinders."""

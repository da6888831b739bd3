"""What failover costs, and how long it takes."""

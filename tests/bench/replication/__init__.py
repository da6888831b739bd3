"""What replication costs, beside what people use today, on real hosts of a lab of its own."""

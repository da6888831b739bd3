"""Who may be primary: decided about a `Situation`, and about nothing else."""

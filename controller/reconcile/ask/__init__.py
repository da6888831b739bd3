"""What a person asks of the running loop, through the store: the same for verbs and pages."""

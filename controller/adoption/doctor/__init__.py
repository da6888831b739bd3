"""What is wrong on hosts and between them, and how to mend it: judgements on facts and probes."""

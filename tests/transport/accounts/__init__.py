"""Real accounts, sudo and sshd, on a machine of their own."""

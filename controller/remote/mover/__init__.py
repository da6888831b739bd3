"""Move disks between hosts: read, hash, send, receive, verify and keep them, without installing."""

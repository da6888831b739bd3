"""Live migration: the guest, its disks, and what it leaves behind."""

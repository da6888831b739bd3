"""How a replica becomes the VM, and how the disks of a VM become a replica again."""

"""The source end: libvirt's backup job from begin to end, and the disks of a VM that is off."""

"""The hypervisor: domains, pools and disks, through virsh."""

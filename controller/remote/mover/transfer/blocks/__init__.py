"""Send the 4 KiB blocks that differ, not the 64 KiB clusters that hold them."""

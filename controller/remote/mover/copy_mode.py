"""
How a disk is copied, in the words of the plan, of the backup job and of the sender.

    increment   what the disk's bitmap says has changed since a checkpoint
    scan        all of the disk is read; what differs from the replica is sent
    seed        all of the disk is read and sent; the replica has nothing of it

The controller chooses the mode. libvirt knows two of its own: an increment is taken with
`backupmode='incremental'`, scan and seed with `backupmode='full'`.
"""

from __future__ import annotations

INCREMENT, SCAN, SEED = "increment", "scan", "seed"
MODES = (INCREMENT, SCAN, SEED)

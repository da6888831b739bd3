"""Files of disks: qcow2, chains, hashes, manifests, holes."""

"""etcd, as far as a lease needs it, through its JSON gateway."""

"""What the transport keeps in Redis: the keys, the scripts and the entries."""

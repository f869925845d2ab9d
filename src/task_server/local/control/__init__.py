"""How commands reach an `up` that runs: a Unix socket in its state folder."""

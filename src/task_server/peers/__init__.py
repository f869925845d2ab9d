"""Redis and PostgreSQL as a client meets them."""

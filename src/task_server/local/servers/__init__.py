"""Redis and PostgreSQL of a development machine: found, started, stopped."""

"""Which tasks have started, as reported to Redis, and which messages may have crashed a worker."""

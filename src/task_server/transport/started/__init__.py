"""Which tasks have started, as Redis is told, and which messages may have crashed their worker."""

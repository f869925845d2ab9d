"""The worker and its broker: connections, an outage, lost messages, dead letters."""

"""The heartbeat of the worker and what it reports."""

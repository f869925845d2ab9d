"""The project's Celery app: found, loaded, and given our defaults."""

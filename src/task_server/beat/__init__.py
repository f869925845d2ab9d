"""Beat: Celery's own schedulers, one at a time, with what they missed reported."""

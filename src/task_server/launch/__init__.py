"""What is decided before a worker starts, and the exec itself. Nothing here imports Celery."""

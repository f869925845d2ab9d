"""The Celery app of a project that knows nothing of task-server."""

from celery import Celery

app = Celery("parish")

"""
The reference Django project: a small pipeline of court documents.

A document is fetched over HTTP by the worker of the queue `io_bound`, then
read by the worker of the queue `celery`; PostgreSQL searches it.
"""

from docket.celery import app as celery_app

__all__ = ["celery_app"]

"""A project that is a package, with its app in `celery`."""

from packaged.celery import app

__all__ = ("app",)

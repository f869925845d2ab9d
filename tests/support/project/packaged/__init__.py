"""A project that is a package, with its app in `celery`."""

from telling.celery import app

__all__ = ("app",)

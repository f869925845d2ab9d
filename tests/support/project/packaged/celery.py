"""The app of the package."""

from signalling import app

__all__ = ("app",)

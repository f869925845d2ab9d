"""What the worker knows of itself."""

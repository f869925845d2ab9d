"""Workers start again when the project's code changes."""

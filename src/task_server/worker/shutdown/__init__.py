"""The way from a signal to the exit."""

"""What is delivered and not acknowledged."""

"""What tests of every room start, wait for and need."""

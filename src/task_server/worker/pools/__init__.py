"""What differs between the pools."""

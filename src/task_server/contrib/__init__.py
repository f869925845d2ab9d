"""What a project may add to itself: each is a Django application of its own."""

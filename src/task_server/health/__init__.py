"""Is a worker, or Flower, alive and ready? The standard library alone."""

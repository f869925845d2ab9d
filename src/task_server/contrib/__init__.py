"""What we add to programs of others: to Django's admin, and to Flower."""
